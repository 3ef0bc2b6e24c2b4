"""Whether a provider works at all. After a failure it is asked something harmless, once for all who want to know.

A provider may refuse one text, or break down over it. If it refuses or fails a harmless one, too, no text is to blame.
Then it is down, or the settings or the account are wrong.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from emendo_client.errors import ConfigurationError, EmendoError, NetworkError
from emendo_client.providers.chat.base import UNUSABLE
from emendo_client.providers.openai_errors import Provider
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.retry import is_transient, is_worker_fault
from emendo_workers.providers.causes import is_refusal

# Seconds for which all are refused without a request, once the provider has refused a harmless one. The worker claims
# no more jobs then; those that it has must not ask a thousand times.
_KNOWN_FAULT = 3.0


class Verdict(NamedTuple):
    """The meaning of a failure that is not of the texts.

    Attributes:
        error: for every text.
        is_down: the provider did not answer a harmless request either.
    """

    error: EmendoError
    is_down: bool


class SignsOfLife:
    """The last signs of one provider's life; thread-safe.

    Args:
        ask: asks something harmless; raises as the provider's calls do.
        provider: whose settings a fault names.
    """

    def __init__(self, ask: Callable[[], object], provider: Provider) -> None:
        self._ask = ask
        self._provider = provider
        self._lock = threading.Lock()
        self._answered = self._asked = float("-inf")  # begin of the newest request that was answered, and of the probe
        self._failure: EmendoError | None = None  # of the probe
        self._fault: tuple[EmendoError, float] | None = None

    @property
    def fault(self) -> EmendoError | None:
        """Why the provider refused everything a moment ago; None if it did not."""
        known = self._fault
        return copy.copy(known[0]) if known is not None and time.monotonic() < known[1] else None

    def answered(self, began: float) -> None:
        """Reports a request that was answered; `began` by the monotonic clock."""
        if began > self._answered:
            self._answered, self._fault = began, None

    def check(self, error: EmendoError) -> Verdict | None:
        """None if the provider answers others, so that the failure is the request's own."""
        failed = time.monotonic()
        with self._lock:
            if self._answered < failed and self._asked < failed:
                self._probe()
            if self._answered >= failed or self._failure is None:
                return None
            return self._verdict(error, copy.copy(self._failure))

    def probe(self) -> None:
        """Asks something harmless.

        Raises:
            EmendoError: what the provider's failure means for every request.
        """
        with self._lock:
            self._fault = None
            self._probe()
            if self._failure is not None:
                raise self._verdict(self._failure, self._failure).error

    def _probe(self) -> None:
        self._asked = began = time.monotonic()
        try:
            self._ask()
        except EmendoError as error:
            self._failure = None if _is_answer(error) else error
        else:
            self._failure = None
        if self._failure is None:
            self.answered(began)

    def _verdict(self, error: EmendoError, probed: EmendoError) -> Verdict:
        if is_worker_fault(probed):
            return Verdict(probed, is_down=False)
        if is_refusal(probed) or "dimensions" in probed.details:
            fault = ConfigurationError(
                f"not even a harmless request is taken: {probed.message}",
                error_code=ErrorCode.PROVIDER_REFUSES,
                details=probed.details,
                suggestion=probed.suggestion or self._provider.advice,
            )
            self._fault = fault, time.monotonic() + _KNOWN_FAULT
            return Verdict(fault, is_down=False)
        return Verdict(error if is_transient(error) else probed, is_down=isinstance(probed, NetworkError))


def _is_answer(error: EmendoError) -> bool:
    """True if a chat model answered, though not as asked: it lives."""
    return error.error_code in UNUSABLE and "status" not in error.details
