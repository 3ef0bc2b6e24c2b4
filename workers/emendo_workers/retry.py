"""Whether and when a failed attempt is tried again: decided here and nowhere else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from emendo_client.chat import base as chat
from emendo_client.embeddings import base as embeddings
from emendo_client.errors import (
    CircuitOpenError,
    EmendoError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
    ThrottledError,
    VectorStoreError,
)
from emendo_config import Settings
from emendo_workers.store_failures import STORE_AWAY

# A job that only waits for another worker's lock comes back this soon (seconds).
BUSY_DELAY = 0.2
# Attempts at what failed for a reason nobody knows, a defect most likely: it may pass, but nothing says so.
UNKNOWN_ATTEMPTS = 3

# Another answer may be better. A refusal or a cut-off answer would be the same again, at temperature 0.
_MAY_PASS = (embeddings.MALFORMED, chat.MALFORMED)
_UNKNOWN = "UNEXPECTED"


class Kind(StrEnum):
    """What a failure says of the next attempt."""

    TRANSIENT = "transient"  # it may succeed with nothing changed but time: 408, 429, 5xx, timeouts, broken answers
    PERMANENT = "permanent"  # it would fail the same way: 400, 401, 404, too long a text, a version that is another
    UNKNOWN = "unknown"  # nobody foresaw it


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What to do with a failed attempt.

    Attributes:
        retry: False sends the job to the dead letters.
        delay: seconds until the next attempt.
        refund: True when the attempt is not to be counted.
    """

    retry: bool
    delay: float = 0.0
    refund: bool = False


def kind_of(error: EmendoError) -> Kind:
    """What kind of failure it is."""
    if isinstance(error, NetworkError | VectorStoreError) or error.error_code in _MAY_PASS:
        return Kind.TRANSIENT
    return Kind.UNKNOWN if error.error_code == _UNKNOWN else Kind.PERMANENT


def is_transient(error: EmendoError) -> bool:
    """True when the same request may succeed later, with nothing changed but time."""
    return kind_of(error) is Kind.TRANSIENT


def decide(error: EmendoError, attempts: int, settings: Settings, rng: random.Random) -> RetryDecision:
    """The decision after the `attempts`-th attempt ended in `error`.

    Exponential backoff with full jitter on its upper half (so that jobs that failed together do not come
    back together), never shorter than the provider's Retry-After, never longer than `EMENDO_RETRY_MAX`.
    """
    if isinstance(error, CircuitOpenError | ThrottledError):  # nothing was tried, so nothing is counted
        pause = float(error.details.get("retry_after", settings.retry_base))
        delay = min(settings.retry_max, pause + settings.retry_base * rng.uniform(0.0, 1.0))
        return RetryDecision(retry=True, delay=delay, refund=True)
    if error.error_code == STORE_AWAY:  # as soon as another worker would come if this one had died
        return RetryDecision(retry=True, delay=settings.lease * rng.uniform(0.5, 1.0), refund=True)
    kind = kind_of(error)
    most = min(UNKNOWN_ATTEMPTS, settings.max_attempts) if kind is Kind.UNKNOWN else settings.max_attempts
    if kind is Kind.PERMANENT or attempts >= most:
        return RetryDecision(retry=False)
    ceiling = min(settings.retry_max, settings.retry_base * 2.0 ** min(attempts - 1, 60))
    if isinstance(error, QuotaExceededError):
        ceiling = settings.retry_max  # an account is not filled up within seconds
    delay = ceiling * rng.uniform(0.5, 1.0)
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        delay = max(delay, error.retry_after)
    return RetryDecision(retry=True, delay=min(delay, settings.retry_max))


def hand_over() -> RetryDecision:
    """The decision for a job that goes on at once, on a shard where it may wait for the chat model."""
    return RetryDecision(retry=True, refund=True)


def busy() -> RetryDecision:
    """The decision for a job whose memory another worker holds just now."""
    return RetryDecision(retry=True, delay=BUSY_DELAY, refund=True)
