"""The size of a request that the provider takes: learnt from its timeouts and refusals, and remembered."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

# Seconds for which a size is remembered: a server may have been slow for another reason.
_REMEMBERED = 600.0
# Tokens below which no limit goes while nobody knows whether size is the reason.
_SMALLEST_GUESS = 512


def most_tokens(text: str) -> int:
    """An upper estimate of a text's tokens."""
    # A byte-pair token is at least one byte; English has about four characters to a token. Half the bytes is
    # above what real text needs, so a request stays under the limit without a tokeniser.
    return len(text.encode()) // 2 + 1


class RequestSize:
    """The most tokens of a request, by the timeouts that were seen, and the most texts, by refusals; thread-safe.

    Attributes:
        most_texts: more of them are refused, or make the provider fail; it does not change, so it is not forgotten.
    """

    def __init__(self) -> None:
        self._limit = (sys.maxsize, 0.0)
        self.most_texts = sys.maxsize

    @property
    def most(self) -> int:
        """In tokens."""
        most, until = self._limit
        return most if time.monotonic() < until else sys.maxsize

    def guess(self, texts: Sequence[str]) -> None:
        """Learns that a request took too long, perhaps because the provider is down."""
        if len(texts) > 1:
            self.learn(max(_cost(texts) // 2, _SMALLEST_GUESS))

    def search(self) -> SizeSearch:
        """Follows the requests of one search."""
        return SizeSearch(self)

    def forget(self) -> None:
        """Learns that a text was to blame."""
        self._limit = (sys.maxsize, 0.0)

    def learn(self, most: int) -> None:
        """Remembers the most tokens of a request."""
        self._limit = (max(1, most), time.monotonic() + _REMEMBERED)


class SizeSearch:
    """The sizes that were answered in time, and those that were not, in one search."""

    def __init__(self, size: RequestSize) -> None:
        self._size = size
        self._taken, self._late = 0, sys.maxsize
        self._most_taken = 0
        self._is_refused = False
        self._fewest_failed: list[str] = []

    def taken(self, texts: Sequence[str]) -> None:
        """These were answered together."""
        self._taken = max(self._taken, _cost(texts))
        self._most_taken = max(self._most_taken, len(texts))

    def late(self, texts: Sequence[str]) -> None:
        """These were not answered in time."""
        self._late = min(self._late, _cost(texts))

    def failed(self, texts: Sequence[str], *, is_refusal: bool) -> None:
        """These were refused together, or the provider failed over them."""
        self._is_refused |= is_refusal
        if not self._fewest_failed or len(texts) < len(self._fewest_failed):
            self._fewest_failed = list(texts)

    def end_of_counting(self, fails_again: Callable[[list[str]], bool], *, is_size: bool, one_failed: bool) -> None:
        """Learns how many texts the provider takes, if their number was the reason of a failure.

        Args:
            fails_again: asks for texts once more; needless after a refusal, which does not pass.
            is_size: a group failed, and every one of its texts was taken in a smaller group.
            one_failed: a text failed alone.
        """
        failed, most = self._fewest_failed, self._most_taken
        if not failed or not most or (one_failed and not (is_size and self._is_refused)):
            return
        if self._is_refused or fails_again(failed):
            self._size.most_texts = min(most, self._size.most_texts)
            logger.info("the embedding provider takes fewer texts at once", extra={"texts": self._size.most_texts})

    def end(self, *, all_taken: bool, one_failed: bool) -> None:
        """Learns from the search.

        Args:
            all_taken: every text was answered in a smaller request, so the size was the reason.
            one_failed: a text failed alone, so that text was.
        """
        if self._late == sys.maxsize:
            return
        if one_failed:
            self._size.forget()
        else:
            self._size.learn(self._taken if all_taken else self._late // 2)


def _cost(texts: Sequence[str]) -> int:
    return sum(map(most_tokens, texts))
