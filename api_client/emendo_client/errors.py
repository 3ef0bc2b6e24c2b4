"""Every error that Emendo raises, as one tree.

EmendoError                     message, error_code, details, suggestion, debug_info
├── ConfigurationError          settings that cannot work
├── ValidationError             bad input; nothing was enqueued
├── AuthenticationError         the provider or the gateway does not know the key
│   └── PermissionDeniedError   the key is known, but may not do this
├── NotFoundError               this project has nothing under the id
│   ├── MemoryNotFoundError     no such memory, or it is deleted
│   ├── JobNotFoundError        the id was never accepted, or its record expired
│   └── ConflictNotFoundError   no such conflict waits for a decision
├── JobError                    something is wrong with a whole job
│   ├── JobNotFoundError        (see above: it belongs to both)
│   ├── JobFailedError          the job is dead-lettered; carries its result
│   └── JobTimeoutError         wait() reached its timeout; the job goes on
├── ConflictError               two writers disagree; carries both versions
├── EmbeddingError              the embedding provider's answer cannot be used
├── InferenceError              the chat model's answer cannot be used
├── VectorStoreError            Redis answered, but refused
└── TransientError              nothing is wrong with the call; it may succeed later
    ├── NetworkError            Redis, the broker or a provider was not reached in time
    ├── RateLimitError          the provider asks to slow down; carries retry_after
    │   └── QuotaExceededError  a quota is used up, the provider's or the project's
    ├── CircuitOpenError        not tried, because the provider has been failing
    └── ThrottledError          not tried, because the configured rate leaves no room yet
"""

from __future__ import annotations

from typing import Any

from emendo_client.rate_limits import RateLimitState
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError, EmendoError

__all__ = [
    "AuthenticationError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConflictError",
    "ConflictNotFoundError",
    "EmbeddingError",
    "EmendoError",
    "InferenceError",
    "JobError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "MemoryNotFoundError",
    "NetworkError",
    "NotFoundError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "ThrottledError",
    "TransientError",
    "ValidationError",
    "VectorStoreError",
]


class ValidationError(EmendoError):
    """The input is refused before anything is enqueued; the store is unchanged."""

    code = ErrorCode.VALIDATION


class AuthenticationError(EmendoError):
    """The key is missing, or the other side does not know it."""

    code = ErrorCode.AUTHENTICATION


class PermissionDeniedError(AuthenticationError):
    """The key is known, but may not do this."""

    code = ErrorCode.PERMISSION_DENIED


class NotFoundError(EmendoError):
    """Base class: the project has no memory, job or waiting conflict with this id."""

    code = ErrorCode.NOT_FOUND


class MemoryNotFoundError(NotFoundError):
    """No such memory in this project, or it is deleted (`restore` brings it back)."""

    code = ErrorCode.MEMORY_NOT_FOUND


class ConflictNotFoundError(NotFoundError):
    """No conflict with this id waits for a decision in this project; it may be resolved already."""

    code = ErrorCode.NO_SUCH_CONFLICT


class JobError(EmendoError):
    """Base class of errors about a job as a whole."""

    code = ErrorCode.JOB


class JobNotFoundError(NotFoundError, JobError):
    """The id was never accepted in this project, or its record has expired (`EMENDO_JOB_TTL`)."""

    code = ErrorCode.JOB_NOT_FOUND


class JobFailedError(JobError):
    """The job failed for good; `details["result"]` is its JobResult as JSON values."""

    code = ErrorCode.JOB_FAILED


class JobTimeoutError(JobError):
    """`wait` reached its timeout before the job reached a final state; the job goes on."""

    code = ErrorCode.JOB_TIMEOUT


class ConflictError(EmendoError):
    """Two writers disagree; `details` carries both versions, or both job ids of one idempotency key."""

    code = ErrorCode.CONFLICT


class EmbeddingError(EmendoError):
    """The embedding provider's answer cannot be used (wrong dimension, missing item, over-long input)."""

    code = ErrorCode.EMBEDDING


class InferenceError(EmendoError):
    """The chat model's answer cannot be used."""

    code = ErrorCode.INFERENCE


class VectorStoreError(EmendoError):
    """Redis answered, but refused: no index, out of memory, wrong type."""

    code = ErrorCode.VECTOR_STORE


class TransientError(EmendoError):
    """Base class: nothing is wrong with the call itself, and it may succeed later."""

    code = ErrorCode.TRANSIENT


class NetworkError(TransientError):
    """Redis, the broker or a provider could not be reached in time."""

    code = ErrorCode.NETWORK


class RateLimitError(TransientError):
    """The provider asks to slow down.

    Args:
        retry_after: seconds to wait, if the provider gave them.
        rate_limits: the limits in its answer's headers; not part of the error's document.
    """

    code = ErrorCode.RATE_LIMIT

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        rate_limits: RateLimitState | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        if retry_after is None:
            retry_after = self.details.get("retry_after")
        else:
            self.details = {**self.details, "retry_after": retry_after}
        self.retry_after: float | None = retry_after
        self.rate_limits = rate_limits or RateLimitState()


class QuotaExceededError(RateLimitError):
    """A quota is used up: of the provider's account, or of the project's open jobs (`EMENDO_PROJECT_MAX_WAITING`).

    A short wait does not help with the first. The second one refuses a submission before anything is enqueued.
    """

    code = ErrorCode.QUOTA_EXCEEDED


class CircuitOpenError(TransientError):
    """The call was not tried, because the provider has been failing."""

    code = ErrorCode.CIRCUIT_OPEN


class ThrottledError(TransientError):
    """The call was not tried, because all workers together have reached the provider's rate limit."""

    code = ErrorCode.THROTTLED


_BY_NAME: dict[str, type[EmendoError]] = {
    name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, EmendoError)
}


def from_document(document: dict[str, Any]) -> EmendoError:
    """The exception for a job record's error document: the inverse of `EmendoError.to_dict`."""
    kind = _BY_NAME.get(str(document.get("type")), EmendoError)
    return kind(
        str(document.get("message", "unknown error")),
        error_code=document.get("code"),
        details=document.get("details"),
        suggestion=document.get("suggestion"),
    )
