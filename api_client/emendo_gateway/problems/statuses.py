"""The HTTP status of each error: by its code, else by its class."""

from __future__ import annotations

from http import HTTPStatus

from emendo_client import errors
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError, EmendoError

_BY_CODE: dict[str, HTTPStatus] = {
    ErrorCode.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.BODY_TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    ErrorCode.CANCELLED: HTTPStatus.CONFLICT,
    ErrorCode.EMBEDDING_TOO_LONG: HTTPStatus.BAD_REQUEST,
    ErrorCode.HEAD_TOO_LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ErrorCode.HOST_REFUSED: HTTPStatus.BAD_REQUEST,
    ErrorCode.IDEMPOTENCY_KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.KEY_REFUSED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.KEY_SCOPE: HTTPStatus.FORBIDDEN,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.NOT_OFFERED: HTTPStatus.NOT_IMPLEMENTED,
    ErrorCode.REQUEST_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.TOO_MANY_FAILED_LOGINS: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.QUOTA_EXCEEDED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.VERSION_MISMATCH: HTTPStatus.PRECONDITION_FAILED,
}
# The first class that fits decides, so a subclass stands before its base.
_BY_CLASS: tuple[tuple[type[EmendoError], HTTPStatus], ...] = (
    (errors.ValidationError, HTTPStatus.BAD_REQUEST),
    (errors.NotFoundError, HTTPStatus.NOT_FOUND),
    (errors.ConflictError, HTTPStatus.CONFLICT),
    (errors.JobError, HTTPStatus.CONFLICT),
    # The provider's key is refused, not the caller's: nothing that the caller sends would help.
    (errors.AuthenticationError, HTTPStatus.BAD_GATEWAY),
    (errors.EmbeddingError, HTTPStatus.BAD_GATEWAY),
    (errors.InferenceError, HTTPStatus.BAD_GATEWAY),
    (errors.TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.VectorStoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConfigurationError, HTTPStatus.SERVICE_UNAVAILABLE),
)
# Seconds after which it makes sense to try again, where the error does not say.
_RETRY_AFTER = {HTTPStatus.SERVICE_UNAVAILABLE: 2, HTTPStatus.TOO_MANY_REQUESTS: 5, HTTPStatus.GATEWAY_TIMEOUT: 2}


def status_of(error: EmendoError) -> HTTPStatus:
    """The status of the answer that tells this error."""
    found = _BY_CODE.get(error.error_code)
    if found is not None:
        return found
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def retry_after(error: EmendoError, status: HTTPStatus) -> int | None:
    """Whole seconds for `Retry-After`; None if another attempt would not help."""
    if isinstance(error, ConfigurationError):  # until an operator changes something
        return None
    told = getattr(error, "retry_after", None)
    if status in _RETRY_AFTER and told:
        return max(1, min(int(told + 0.999), 3_600))
    return _RETRY_AFTER.get(status)
