"""The openai client's errors in Emendo's terms, for embeddings and for chat."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import openai

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
from emendo_client.providers.bounded_http import AnswerTooLargeError
from emendo_client.providers.connection_failures import described
from emendo_client.providers.error_bodies import (
    in_words,
    provider_details,
    retry_delay,
    says_no_money,
    says_too_long,
    says_wrong_key,
)
from emendo_client.providers.rate_limit_headers import LONGEST_PAUSE, MAX_CHARS, parse_duration, read_rate_limits
from emendo_config.error_codes import ErrorCode
from emendo_config.visible_text import visible

_TOO_MANY, _SERVER_ERROR = 429, 500
_NOT_FOUND = 404
_REDIRECTS = range(300, 400)
_MAX_HEADER_CHARS, _MAX_LOCATION_CHARS = 128, 2_000
# Statuses below 500 that may pass. 424: Text Embeddings Inference says it when its model fails. 499: a proxy, or
# Google, gave the request up.
_MAY_PASS = (408, 409, 421, 424, 425, 499)
# Statuses that refuse the content: too long, against the provider's rules, not understood.
_REFUSED = (400, 413, 422)
# Codes of refusals that are about a request's content.
_OF_CONTENT = ("content_filter", "content_policy_violation")


@dataclass(frozen=True, slots=True)
class Provider:
    """The errors of one kind of provider.

    Attributes:
        error: class for a refused request and for an unusable answer.
        malformed: code of an unusable answer.
        refused: code of content that the provider refuses from every caller.
        too_long: code of an input with more tokens than the model takes.
        shorten: the advice for it.
        advice: what to check if it refuses everything.
        settings: the beginning of the names of its settings.
    """

    error: type[EmendoError]
    malformed: ErrorCode
    refused: ErrorCode
    too_long: ErrorCode
    shorten: str
    advice: str
    settings: str

    @property
    def key_setting(self) -> str:
        """The setting of its key."""
        return f"{self.settings}_API_KEY"

    @property
    def url_setting(self) -> str:
        """The setting of its address."""
        return f"{self.settings}_BASE_URL"


EMBEDDING = Provider(
    EmbeddingError,
    ErrorCode.EMBEDDING_MALFORMED,
    ErrorCode.EMBEDDING,
    ErrorCode.EMBEDDING_TOO_LONG,
    "shorten the text, lower EMENDO_MAX_TEXT_CHARS, or use a model that takes longer texts",
    "check EMENDO_EMBEDDING_MODEL, EMENDO_EMBEDDING_DIMENSIONS, EMENDO_EMBEDDING_BASE_URL and the account",
    "EMENDO_EMBEDDING",
)
CHAT = Provider(
    InferenceError,
    ErrorCode.INFERENCE_MALFORMED,
    ErrorCode.INFERENCE_REFUSED,
    ErrorCode.INFERENCE_TOO_LONG,
    "lower EMENDO_INFERENCE_WINDOW_TOKENS, or use a model with a larger context",
    "check EMENDO_CHAT_MODEL, EMENDO_CHAT_BASE_URL and the account",
    "EMENDO_CHAT",
)


def require_server(provider: Provider, needed: str, key: str, base_url: str) -> None:
    """Refuses settings that name no server. Texts meant for a private server must never go to OpenAI by default.

    Args:
        needed: name of the embedder or the chat model, for the message.

    Raises:
        ConfigurationError: neither a key (a key alone means OpenAI) nor a base URL is set.
    """
    if not key and not base_url:
        raise ConfigurationError(
            f"{needed} is needed, but neither {provider.key_setting} (or OPENAI_API_KEY) nor {provider.url_setting} "
            "is set here",
            suggestion=f"give this process the workers' settings: {provider.url_setting}, or a key for OpenAI itself",
        )


def translate(error: Exception, provider: Provider) -> EmendoError:
    """The Emendo error for a failed provider request; it never carries text of the request or the answer."""
    if isinstance(error, openai.APITimeoutError):
        return NetworkError(
            "the provider did not answer in time",
            error_code=ErrorCode.PROVIDER_TIMEOUT,
            details=_cause_of(error),
            suggestion=f"look at the server; raise {provider.settings}_TIMEOUT if it is slow, or still loads its model",
        )
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, provider)
    if isinstance(error.__cause__, AnswerTooLargeError):
        return provider.error(
            f"the provider's answer has more than {error.__cause__.most:,} bytes",
            error_code=provider.malformed,
            suggestion=f"check that {provider.url_setting} is the address of a model",
        )
    if isinstance(error, openai.APIConnectionError):
        problem, suggestion = described(error.__cause__ or error, provider.url_setting)
        return NetworkError(
            problem, error_code=ErrorCode.PROVIDER_UNREACHABLE, details=_cause_of(error), suggestion=suggestion
        )
    return provider.error(
        f"the provider's answer is malformed ({type(error).__name__})",
        error_code=provider.malformed,
        suggestion=not_an_api(provider),
    )


def not_an_api(provider: Provider) -> str:
    """The advice for an answer that no such API gives, such as a web page."""
    return f"check that {provider.url_setting} is the address of the API, which mostly ends with /v1"


def fails_in_every_form(error: openai.APIStatusError) -> bool:
    """True for a refusal that every form of the request would meet: it is about its content, or the account."""
    return (
        error.code in _OF_CONTENT
        or _is_too_long(error)
        or says_no_money(error.status_code, _body_of(error))
        or says_wrong_key(error.status_code, _body_of(error))
    )


def _is_too_long(error: openai.APIStatusError) -> bool:
    """True if the provider refuses an input for its number of tokens. Some servers say so with a 500."""
    return error.status_code != _TOO_MANY and says_too_long(_body_of(error))


def _cause_of(error: openai.APIConnectionError) -> dict[str, str]:
    return {"cause": type(error.__cause__ or error).__name__}


def _from_status(error: openai.APIStatusError, provider: Provider) -> EmendoError:
    status, said = error.status_code, provider_details(_body_of(error))
    details = {"status": status, "request_id": _short(error.request_id), **said}
    words = in_words(said)
    if says_no_money(status, _body_of(error)):
        return QuotaExceededError(
            f"the provider account's quota is used up, says the provider with {status}{words}",
            details=details,
            suggestion="raise the quota or the budget of the account at the provider, or pay for it",
        )
    if status == _TOO_MANY:
        return _too_many(error, words, details, provider)
    if _is_too_long(error):
        return provider.error(
            f"the input has more tokens than the model takes, says the provider with {status}{words}",
            error_code=provider.too_long,
            details=details,
            suggestion=provider.shorten,
        )
    if status in _MAY_PASS or status >= _SERVER_ERROR or status in _REDIRECTS:
        return _failing(error, words, details, provider)
    return _refused(error, words, details, provider)


def _failing(error: openai.APIStatusError, words: str, details: dict[str, Any], provider: Provider) -> NetworkError:
    """The error of a provider that may answer later, or at another address."""
    suggestion = "look at the provider's status page, or into the server's log"
    if error.status_code in _REDIRECTS:
        words = f" and redirects to {_host_of(error)}; texts and keys are sent to no other address"
        suggestion = f"set {provider.url_setting} to the address that answers"
    return NetworkError(
        f"the provider answered {error.status_code}{words}",
        error_code=ErrorCode.PROVIDER_FAILING,
        details=details,
        suggestion=suggestion,
    )


def _refused(error: openai.APIStatusError, words: str, details: dict[str, Any], provider: Provider) -> EmendoError:
    """The error of a key, a setting or a content that the provider does not take."""
    status = error.status_code
    if isinstance(error, openai.AuthenticationError) or says_wrong_key(status, _body_of(error)):
        suggestion = f"check {provider.key_setting}; a server that wants another header has {provider.settings}_HEADERS"
        return AuthenticationError(f"the provider refuses the API key{words}", details=details, suggestion=suggestion)
    if isinstance(error, openai.PermissionDeniedError):
        return PermissionDeniedError(f"the provider's key may not use this model{words}", details=details)
    has_code = any(name in details for name in ("provider_code", "provider_param"))
    return provider.error(
        f"the provider refuses the request with {status}{words}",
        error_code=provider.refused if status in _REFUSED else None,
        details=details,
        suggestion=not_an_api(provider) if status == _NOT_FOUND and not has_code else None,
    )


def _short(value: str | None) -> str | None:
    """A header's value as it may stand in details."""
    return None if value is None else visible(value[:_MAX_HEADER_CHARS])


def _host_of(error: openai.APIStatusError) -> str:
    """The host of a redirect; the rest of the address may hold anything."""
    location = error.response.headers.get("location", "")
    try:
        host = urlsplit(location[:_MAX_LOCATION_CHARS]).hostname
    except ValueError:
        host = None
    return (_short(host) if host else None) or "a path of its own"


def _too_many(error: openai.APIStatusError, words: str, details: dict[str, Any], provider: Provider) -> RateLimitError:
    suggestion = "try again later, as workers do by themselves; raise the account's limit if it happens often"
    if provider is EMBEDDING:
        suggestion += ", or lower EMENDO_EMBEDDING_REQUESTS_PER_MINUTE"
    return RateLimitError(
        f"the provider asks to slow down{words}",
        retry_after=_retry_after(error),
        rate_limits=read_rate_limits(error.response.headers),
        details=details,
        suggestion=suggestion,
    )


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds to wait, as the headers or the body say them."""
    seconds = retry_after_seconds(error.response.headers)
    return parse_duration(retry_delay(_body_of(error))) if seconds is None else seconds


def _body_of(error: openai.APIStatusError) -> object:
    """The error's body. The client keeps only the text of `{"error": "<text>", …}`, so that is read again."""
    if isinstance(error.body, str):
        try:
            return error.response.json()
        except ValueError:  # an HTML page, for example
            pass
    return error.body


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from the headers of the provider's answer; None if they do not say.

    `retry-after-ms` is OpenAI's own header; `Retry-After` is seconds or an HTTP-date (RFC 9110, section 10.2.3).
    """
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    for value, scale in ((milliseconds, 1_000.0), (after, 1.0)):
        try:
            return _bounded(float(value[:MAX_CHARS]) / scale)
        except ValueError:
            continue
    if not 0 < len(after) <= MAX_CHARS:
        return None
    try:
        moment = parsedate_to_datetime(after)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # the obsolete form names no zone and means GMT
        moment = moment.replace(tzinfo=UTC)
    return _bounded(moment.timestamp() - time.time())


def _bounded(seconds: float) -> float:
    """A pause that can be waited for.

    Raises:
        ValueError: it is no number.
    """
    if math.isnan(seconds):
        raise ValueError("nan")
    return min(max(0.0, seconds), LONGEST_PAUSE)
