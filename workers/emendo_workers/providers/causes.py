"""The possible causes of a failed provider request: its texts, the provider, or the settings."""

from __future__ import annotations

from emendo_client.errors import EmbeddingError, EmendoError, InferenceError, NetworkError
from emendo_client.providers.chat.base import UNUSABLE
from emendo_client.providers.connection_failures import NOT_CONNECTED
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.retry import is_transient

_TOO_LONG = (ErrorCode.EMBEDDING_TOO_LONG, ErrorCode.INFERENCE_TOO_LONG)
_FILTERED = ("content_filter", "content_policy_violation")


def is_of_the_texts(error: EmendoError) -> bool:
    """True if other texts may be answered: a refusal, an unusable answer, or a server that breaks over a request."""
    return is_refusal(error) or is_breakdown(error) or isinstance(error, EmbeddingError)


def is_refusal(error: EmendoError) -> bool:
    """True if the provider would refuse the same request again."""
    if isinstance(error, InferenceError) and error.error_code in UNUSABLE:
        return "status" in error.details  # otherwise the model answered
    return isinstance(error, EmbeddingError | InferenceError) and not is_transient(error)


def is_breakdown(error: EmendoError) -> bool:
    """True if the provider took the request and failed: 5xx, no answer in time, a connection that broke off."""
    return isinstance(error, NetworkError) and error.details.get("cause") not in NOT_CONNECTED


def is_timeout(error: EmendoError) -> bool:
    """True if the request may have been too large for its time."""
    return error.error_code == ErrorCode.PROVIDER_TIMEOUT


def explains_itself(error: EmendoError) -> bool:
    """True for a refusal that can only be about this input, so that nothing else need be asked."""
    return error.error_code in _TOO_LONG or error.details.get("provider_code") in _FILTERED
