"""Everything Emendo raises, as one tree.

EmendoError                   message, error_code, details, suggestion, debug_info
├── ConfigurationError        settings that cannot work
├── ValidationError           bad input; nothing was enqueued
├── AuthenticationError       the provider or gateway does not know the key
│   └── PermissionDeniedError the key is known and may not do this
├── MemoryNotFoundError       no such memory in this project (or it is deleted)
├── JobError
│   ├── JobNotFoundError      the id was never accepted, or its record expired
│   ├── JobFailedError        the job is dead-lettered; carries its result
│   └── JobTimeoutError       wait() gave up; the job goes on
├── ConflictError             two writers disagree; carries both versions
├── EmbeddingError            the embedding provider's answer cannot be used
├── InferenceError            the chat model's answer cannot be used
├── VectorStoreError          Redis answered, but refused
└── NetworkError              something could not be reached in time
    ├── RateLimitError        told to slow down; carries retry_after
    │   └── QuotaExceededError  waiting will not help: the account is used up
    ├── CircuitOpenError      not even tried: the other side has been failing
    └── ThrottledError        not even tried: our own pace leaves no room for it yet
"""

from __future__ import annotations

from typing import Any

from emendo_client.rate_limits import RateLimitState
from emendo_config.errors import ConfigurationError, EmendoError

__all__ = [
    "AuthenticationError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConflictError",
    "EmbeddingError",
    "EmendoError",
    "InferenceError",
    "JobError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "MemoryNotFoundError",
    "NetworkError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "ThrottledError",
    "ValidationError",
    "VectorStoreError",
]


class ValidationError(EmendoError):
    """The input is refused before anything was enqueued; the store is unchanged."""

    code = "VALIDATION"


class AuthenticationError(EmendoError):
    """The key is missing or not known to the other side."""

    code = "AUTHENTICATION"


class PermissionDeniedError(AuthenticationError):
    """The key is known, but may not do this."""

    code = "PERMISSION_DENIED"


class MemoryNotFoundError(EmendoError):
    """No such memory in this project, or it is deleted (`restore` brings it back)."""

    code = "MEMORY_NOT_FOUND"


class JobError(EmendoError):
    """Base of what can be wrong with a job as a whole."""

    code = "JOB"


class JobNotFoundError(JobError):
    """The id was never accepted in this project, or its record has expired (`EMENDO_JOB_TTL`)."""

    code = "JOB_NOT_FOUND"


class JobFailedError(JobError):
    """The job failed for good; `details["result"]` is its JobResult as JSON values."""

    code = "JOB_FAILED"


class JobTimeoutError(JobError):
    """`wait` gave up before the job reached a final state; the job itself goes on."""

    code = "JOB_TIMEOUT"


class ConflictError(EmendoError):
    """Two writers disagree; `details` carries both versions, or both job ids of one idempotency key."""

    code = "CONFLICT"


class EmbeddingError(EmendoError):
    """The embedding provider's answer cannot be used (wrong dimension, missing item, over-long input)."""

    code = "EMBEDDING"


class InferenceError(EmendoError):
    """The chat model's answer cannot be used."""

    code = "INFERENCE"


class VectorStoreError(EmendoError):
    """Redis answered, but refused: no index, out of memory, wrong type."""

    code = "VECTOR_STORE"


class NetworkError(EmendoError):
    """Redis, the broker or a provider could not be reached in time."""

    code = "NETWORK"


class RateLimitError(NetworkError):
    """The other side asks to slow down.

    Args:
        retry_after: seconds to wait, when the other side said so.
        rate_limits: what its answer's headers said besides; not part of the error's document.
    """

    code = "RATE_LIMIT"

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
    """The account's quota is used up; waiting a little will not help."""

    code = "QUOTA_EXCEEDED"


class CircuitOpenError(NetworkError):
    """The call was not tried, because the other side has been failing."""

    code = "CIRCUIT_OPEN"


class ThrottledError(NetworkError):
    """The call was not tried, because all workers together are as fast as the provider allows."""

    code = "THROTTLED"


_BY_NAME: dict[str, type[EmendoError]] = {
    name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, EmendoError)
}


def from_document(document: dict[str, Any]) -> EmendoError:
    """The exception a job record's error document stands for (the inverse of `EmendoError.to_dict`)."""
    kind = _BY_NAME.get(str(document.get("type")), EmendoError)
    return kind(
        str(document.get("message", "unknown error")),
        error_code=document.get("code"),
        details=document.get("details"),
        suggestion=document.get("suggestion"),
    )
