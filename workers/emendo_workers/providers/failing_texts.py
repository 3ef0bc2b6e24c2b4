"""The search for the texts that fail alone, among texts that failed together.

A group that fails is halved. A provider that fails as a whole must not be asked for each half. So after some failures
in a row the search looks whether the provider still answers a harmless text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from emendo_client.errors import EmendoError, ThrottledError
from emendo_workers.providers.causes import is_of_the_texts, is_refusal, is_timeout

Answers = dict[str, bytes | EmendoError]
# Requests of one search. Texts that it leaves undecided wait for the next attempt, which is not counted.
MOST_REQUESTS = 64
# Texts refused alone, and none taken, after which the rest is asked one by one.
_ALL_SEEM_REFUSED = 4
# Failures in a row after which the provider is checked: the first time, and later.
_FIRST_CHECK, _NEXT_CHECK = 2, 4


class _Group(NamedTuple):
    """Texts that are still to be decided.

    Attributes:
        fails: they are known to fail together, so that only parts are asked.
        is_left: if they are taken, the next group fails: it is the other half of a group that failed.
    """

    texts: Sequence[str]
    fails: bool = False
    is_left: bool = False


class Search:
    """One search; call `run` once.

    Args:
        ask: makes one request; a vector or an error for each text, or the error of the whole request.
        check: the error of every text if the provider fails as a whole; None if it answers others.
        until: when the search ends, by the monotonic clock.

    Attributes:
        is_size: a group failed, and every one of its texts was taken in a smaller group.
    """

    def __init__(
        self,
        ask: Callable[[list[str]], Answers | EmendoError],
        check: Callable[[EmendoError], EmendoError | None],
        until: float = float("inf"),
    ) -> None:
        self._ask = ask
        self._check = check
        self._until = until
        self._found: Answers = {}
        self._waiting: list[_Group] = []
        self._asked = self._refused = self._taken = 0
        self._in_a_row = 0
        self._is_checked = False
        self.is_size = False
        self._largest_taken = self._most = self._all = 0

    def run(self, texts: Sequence[str], error: EmendoError, *, is_checked: bool = False) -> Answers:
        """A vector or an error for each text.

        One text among N that is refused, or that makes the provider fail, costs at most 2·log2(N) requests and one or
        two harmless ones. If the provider fails as a whole it is two requests. No search makes more than MOST_REQUESTS.

        Args:
            texts: at least two, which failed together.
            error: how.
            is_checked: the provider has answered a harmless text since.
        """
        self._is_checked, self._in_a_row, self._all = is_checked, int(not is_checked), len(texts)
        self._most = self._all
        self._note_time(texts, error)
        self._waiting = self._parts(_Group(texts, fails=True), error)
        while self._waiting:
            group = self._waiting.pop()
            if len(group.texts) > 1 and (group.fails or len(group.texts) > self._most):
                self._waiting += self._parts(group, error)
            elif self._asked == MOST_REQUESTS or time.monotonic() > self._until:
                self._found |= dict.fromkeys(group.texts, undecided())
            else:
                self._ask_for(group)
        return self._found

    def _ask_for(self, group: _Group) -> None:
        self._asked += 1
        answer = self._ask(list(group.texts))
        if isinstance(answer, dict):
            self._found |= answer
            self._taken += len(answer)
            self._largest_taken = max(self._largest_taken, len(group.texts))
            self._in_a_row, self._is_checked = 0, True
            if group.is_left:
                self._waiting[-1] = self._waiting[-1]._replace(fails=True)
            if group.fails:  # the last text of a group that failed is taken: the group was too large
                self._most, self.is_size = self._largest_taken, True
            return
        verdict = self._verdict(answer)
        if verdict is not None:
            left = [text for each in (group, *self._waiting) for text in each.texts]
            self._found |= dict.fromkeys(left, verdict)
            self._waiting = []
        elif len(group.texts) == 1:
            self._found[group.texts[0]] = answer
            self._refused += 1
            self._most = self._all  # this text was to blame, not the size of the requests it was in
        else:
            self._note_time(group.texts, answer)
            self._waiting += self._parts(group._replace(fails=True), answer)

    def _verdict(self, error: EmendoError) -> EmendoError | None:
        """The error for all texts that are left, if this one is not of the texts."""
        if not is_of_the_texts(error):
            return error
        self._in_a_row += 1
        if self._is_checked and is_refusal(error):  # settings that were right a moment ago are right
            return None
        if self._in_a_row < (_NEXT_CHECK if self._is_checked else _FIRST_CHECK):
            return None
        self._in_a_row, self._is_checked = 0, True
        return self._check(error)

    def _note_time(self, texts: Sequence[str], error: EmendoError) -> None:
        """After a timeout later groups are smaller, but not smaller than one that was taken."""
        if is_timeout(error):
            self._most = max(self._largest_taken, len(texts) // 2, 1)

    def _parts(self, group: _Group, error: EmendoError) -> list[_Group]:
        if self._refused >= _ALL_SEEM_REFUSED and not self._taken:
            return [_Group([text]) for text in group.texts]
        half = len(group.texts) // 2
        # Half of a request that took too long, or is only halved for its size, says nothing about the other half.
        is_left = group.fails and not is_timeout(error)
        return [_Group(group.texts[half:]), _Group(group.texts[:half], is_left=is_left)]


def undecided() -> ThrottledError:
    """The error of a text that is left to the next attempt; this one is not counted."""
    return ThrottledError(
        "some texts of a request fail at the provider; the search for them goes on",
        details={"retry_after": 0.0},
        suggestion="nothing is to be done: the job comes back by itself",
    )
