"""What the openai client raises, in Emendo's own terms; used for embeddings and for chat."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import openai

from emendo_client.chat import base as chat
from emendo_client.embeddings import base as embeddings
from emendo_client.errors import (
    AuthenticationError,
    ConfigurationError,
    EmbeddingError,
    EmendoError,
    InferenceError,
    NetworkError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)
from emendo_client.rate_limits import read_rate_limits

_REQUEST_TIMEOUT, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 408, 409, 429, 500
# Of what was asked, not of how: too long, against the provider's rules, not understood.
_REFUSED = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Provider:
    """What a kind of provider's failures are called.

    Attributes:
        error: raised when it refuses the request, or its answer cannot be used.
        malformed, refused: error codes of such an answer, and of what it will not do whoever asks.
        key_setting, url_setting: where its key and its address come from.
    """

    error: type[EmendoError]
    malformed: str
    refused: str
    key_setting: str
    url_setting: str


EMBEDDING = Provider(
    EmbeddingError,
    embeddings.MALFORMED,
    EmbeddingError.code,
    "EMENDO_EMBEDDING_API_KEY",
    "EMENDO_EMBEDDING_BASE_URL",
)
CHAT = Provider(InferenceError, chat.MALFORMED, chat.REFUSED, "EMENDO_CHAT_API_KEY", "EMENDO_CHAT_BASE_URL")


def require_server(provider: Provider, needed: str, key: str, base_url: str) -> None:
    """Refuses settings that name no server: texts meant for a private one must never go to OpenAI by default.

    Args:
        needed: what is to be asked, for the message.

    Raises:
        ConfigurationError: there is neither a key, which alone means OpenAI, nor a base URL.
    """
    if not key and not base_url:
        raise ConfigurationError(
            f"{needed} is needed, but neither {provider.key_setting} (or OPENAI_API_KEY) nor {provider.url_setting} "
            "is set here",
            suggestion=f"give this process what the workers have: {provider.url_setting}, or a key for OpenAI itself",
        )


def translate(error: Exception, provider: Provider) -> EmendoError:
    """The Emendo error for one failed provider request; never carries the request's or answer's text."""
    if isinstance(error, openai.APITimeoutError):
        return NetworkError("the provider did not answer in time", error_code="PROVIDER_TIMEOUT")
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, provider)
    if isinstance(error, openai.APIConnectionError):
        return NetworkError(
            f"the provider cannot be reached ({type(error.__cause__ or error).__name__})",
            error_code="PROVIDER_UNREACHABLE",
            suggestion=f"check {provider.url_setting} (OpenAI itself when it is not set) and this machine's network",
        )
    return provider.error(f"the provider's answer is malformed ({type(error).__name__})", error_code=provider.malformed)


def _from_status(error: openai.APIStatusError, provider: Provider) -> EmendoError:
    status = error.status_code
    details = {"status": status, "request_id": error.request_id}
    if status == _TOO_MANY:
        if error.code == "insufficient_quota":
            return QuotaExceededError("the provider account's quota is used up", details=details)
        return RateLimitError(
            "the provider asks to slow down",
            retry_after=retry_after_seconds(error.response.headers),
            rate_limits=read_rate_limits(error.response.headers),
            details=details,
        )
    if status in (_REQUEST_TIMEOUT, _CONFLICT) or status >= _SERVER_ERROR:
        return NetworkError(f"the provider answered {status}", error_code="PROVIDER_FAILING", details=details)
    if isinstance(error, openai.AuthenticationError):
        return AuthenticationError(
            "the provider refuses the API key", details=details, suggestion=f"check {provider.key_setting}"
        )
    if isinstance(error, openai.PermissionDeniedError):
        return PermissionDeniedError("the provider's key may not use this model", details=details)
    code = provider.refused if status in _REFUSED else None
    return provider.error(f"the provider refuses the request with {status}", error_code=code, details=details)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait, from its answer's headers; None when it does not say.

    `retry-after-ms` is OpenAI's own; `Retry-After` is seconds or an HTTP-date (RFC 9110, section 10.2.3).
    """
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    for value, scale in ((milliseconds, 1_000.0), (after, 1.0)):
        try:
            return max(0.0, float(value) / scale)
        except ValueError:
            continue
    if not after:
        return None
    try:
        moment = parsedate_to_datetime(after)
    except ValueError:
        return None
    if moment.tzinfo is None:  # the obsolete form names no zone, and means GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())
