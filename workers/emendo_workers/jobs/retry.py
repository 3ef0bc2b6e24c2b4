"""Whether and when a failed attempt is tried again: decided here and nowhere else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from emendo_client.errors import (
    AuthenticationError,
    CircuitOpenError,
    EmendoError,
    QuotaExceededError,
    RateLimitError,
    ThrottledError,
    TransientError,
    VectorStoreError,
)
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode

# A job that only waits for another worker's lock comes back this soon (seconds).
BUSY_DELAY = 0.2
# Attempts after a failure of unknown cause, most likely a defect: it may pass, but nothing suggests so.
UNKNOWN_ATTEMPTS = 3

# Another answer may be better. A refusal or a cut-off answer would be the same again, at temperature 0.
_MAY_PASS = (ErrorCode.EMBEDDING_MALFORMED, ErrorCode.INFERENCE_MALFORMED)
# The store cannot take the job's change now: nothing says that the job would fail.
_NO_FAULT_OF_THE_JOB = (ErrorCode.STORE_AWAY, ErrorCode.OUT_OF_MEMORY)
# The worker cannot do any such job, but another one may, or this one once it is set right.
_WORKER_FAULTS = (
    ErrorCode.SPACES_UNREADABLE,
    ErrorCode.RELEASE_TOO_OLD,
    ErrorCode.PROVIDER_MISSING,
    ErrorCode.PROVIDER_REFUSES,
    ErrorCode.REDIS_NO_PERMISSION,
)


class Kind(StrEnum):
    """The kinds of failure, by the chance of another attempt."""

    TRANSIENT = "transient"  # it may succeed later without any other change: 408, 429, 5xx, timeouts, broken answers
    PERMANENT = "permanent"  # it would fail the same way: 400, 404, too long a text, another version
    UNKNOWN = "unknown"  # nobody foresaw it


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The next step after a failed attempt.

    Attributes:
        retry: False sends the job to the dead letters.
        delay: seconds until the next attempt.
        refund: True when the attempt is not to be counted.
    """

    retry: bool
    delay: float = 0.0
    refund: bool = False


def kind_of(error: EmendoError) -> Kind:
    """The kind of a failure."""
    if isinstance(error, TransientError | VectorStoreError) or error.error_code in _MAY_PASS:
        return Kind.TRANSIENT
    return Kind.UNKNOWN if error.error_code == ErrorCode.UNEXPECTED else Kind.PERMANENT


def is_worker_fault(error: EmendoError) -> bool:
    """True when the worker or its account is to blame: every job that needs the same would fail."""
    return isinstance(error, AuthenticationError) or error.error_code in _WORKER_FAULTS


def is_lasting(error: EmendoError) -> bool:
    """True for what lasts until somebody sets the worker or its account right: a worker's fault, or a used-up quota."""
    return is_worker_fault(error) or isinstance(error, QuotaExceededError)


def is_transient(error: EmendoError) -> bool:
    """True when the same request may succeed later without any other change."""
    return kind_of(error) is Kind.TRANSIENT


def decide(error: EmendoError, attempts: int, settings: Settings, rng: random.Random) -> RetryDecision:
    """The decision after the `attempts`-th attempt ended in `error`.

    Exponential backoff with full jitter on its upper half, so that jobs that failed together do not come back
    together. The delay is at least the provider's Retry-After and at most `EMENDO_RETRY_MAX`.
    """
    if isinstance(error, CircuitOpenError | ThrottledError):  # nothing was tried, so the attempt is not counted
        pause = float(error.details.get("retry_after", settings.retry_base))
        delay = min(settings.retry_max, pause + settings.retry_base * rng.uniform(0.0, 1.0))
        return RetryDecision(retry=True, delay=delay, refund=True)
    if error.error_code in _NO_FAULT_OF_THE_JOB or is_worker_fault(
        error
    ):  # no sooner than another worker would take over from a dead one
        return RetryDecision(retry=True, delay=settings.lease * rng.uniform(0.5, 1.0), refund=True)
    if isinstance(error, QuotaExceededError):  # an account is not filled up within seconds
        pause = max(settings.retry_max * rng.uniform(0.5, 1.0), error.retry_after or 0.0)
        return RetryDecision(retry=True, delay=min(pause, settings.retry_max), refund=True)
    kind = kind_of(error)
    most = min(UNKNOWN_ATTEMPTS, settings.max_attempts) if kind is Kind.UNKNOWN else settings.max_attempts
    if kind is Kind.PERMANENT or attempts >= most:
        return RetryDecision(retry=False)
    ceiling = min(settings.retry_max, settings.retry_base * 2.0 ** min(attempts - 1, 60))
    delay = ceiling * rng.uniform(0.5, 1.0)
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        delay = max(delay, error.retry_after)
    return RetryDecision(retry=True, delay=min(delay, settings.retry_max))


def hand_over() -> RetryDecision:
    """The decision for a job that goes on at once on another shard, where it may wait for the chat model."""
    return RetryDecision(retry=True, refund=True)


def busy() -> RetryDecision:
    """The decision for a job whose memory another worker holds."""
    return RetryDecision(retry=True, delay=BUSY_DELAY, refund=True)
