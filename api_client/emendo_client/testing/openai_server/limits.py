"""Requests that the test server refuses as OpenAI would: wrong forms and sizes, unknown models and formats."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from emendo_client.testing.openai_server import response_formats as formats
from emendo_client.testing.openai_server.answers import Answer, error
from emendo_client.testing.openai_server.response_formats import RESPONSE_FORMATS
from emendo_client.testing.openai_server.texts import inputs_of, tokens_of
from emendo_client.testing.openai_server.too_long import SERVERS, Server, too_long

MAX_INPUTS = 2_048
MAX_TOKENS = 8_192
_ENCODINGS = (None, "float", "base64")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a request. The defaults are OpenAI's; lower ones let a test reach them cheaply.

    Attributes:
        models: the models that the server knows; None knows every name.
        max_inputs: texts in one embeddings request.
        max_tokens: tokens in one text, at about four characters each; in a chat request those of all messages.
        speaks_like: the server in whose words a text with more tokens is refused.
        response_formats: those a chat request may ask for; `{"text"}` is a server without structured outputs.

    Raises:
        ValueError: a size below 1 or above OpenAI's, or an unknown response format or server.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    models: AbstractSet[str] | None = None
    max_inputs: int = MAX_INPUTS
    max_tokens: int = MAX_TOKENS
    response_formats: AbstractSet[str] = RESPONSE_FORMATS
    speaks_like: Server = "openai"

    def __post_init__(self) -> None:
        for name, given, most in (
            ("max_inputs", self.max_inputs, MAX_INPUTS),
            ("max_tokens", self.max_tokens, MAX_TOKENS),
        ):
            if not 1 <= given <= most:
                raise ValueError(f"{name} must be between 1 and {most}, not {given}")
        if self.speaks_like not in SERVERS:
            raise ValueError(f"unknown server {self.speaks_like!r}; use one of {', '.join(SERVERS)}")
        unknown = set(self.response_formats) - RESPONSE_FORMATS
        if unknown:
            known = ", ".join(sorted(RESPONSE_FORMATS))
            raise ValueError(f"unknown response_formats {sorted(unknown)}; use some of {known}")

    def document(self) -> dict[str, Any]:
        """The limits as JSON values."""
        return {
            "models": None if self.models is None else sorted(self.models),
            "max_inputs": self.max_inputs,
            "max_tokens": self.max_tokens,
            "response_formats": sorted(self.response_formats),
            "speaks_like": self.speaks_like,
        }

    def refusal(self, endpoint: str, request: dict[str, Any]) -> Answer | None:
        """The answer to a request beyond a limit (400, or 404 for an unknown model); None if it is within all."""
        wrong = _wrong_form(endpoint, request)
        if wrong is not None:
            return error(400, wrong)
        model = request["model"]
        if self.models is not None and model not in self.models:
            return error(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        texts = inputs_of(endpoint, request)
        if endpoint == "chat":
            tokens = sum(map(tokens_of, texts))
            if self.max_tokens < MAX_TOKENS and tokens > self.max_tokens:
                return too_long(self.speaks_like, self.max_tokens, tokens)
            return formats.refusal(request, self.response_formats)
        return self._too_large(texts)

    def _too_large(self, texts: list[str]) -> Answer | None:
        if len(texts) > self.max_inputs:
            return error(400, f"'$.input' is invalid: {len(texts)} items; at most {self.max_inputs} are allowed")
        for index, text in enumerate(texts):
            tokens = tokens_of(text)
            if tokens > self.max_tokens:
                return too_long(self.speaks_like, self.max_tokens, tokens, index)
        return None


def _wrong_form(endpoint: str, request: dict[str, Any]) -> str | None:
    """The first error in the request's fields, as a sentence; None if there is none."""
    if not isinstance(request.get("model"), str) or not request["model"]:
        return "you must provide a model parameter"
    return _wrong_chat(request) if endpoint == "chat" else _wrong_input(request) or _wrong_options(request)


def _wrong_chat(request: dict[str, Any]) -> str | None:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' is invalid: it must be a list of at least one message"
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        return "'messages' is invalid: each must be an object with a role"
    return "'stream' is invalid: this test server does not stream" if request.get("stream") else None


def _wrong_input(request: dict[str, Any]) -> str | None:
    given = request.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return "'$.input' is invalid: it must be a string or a list of strings"
    return None if texts and all(texts) else "'$.input' is invalid: it must not be empty"


def _wrong_options(request: dict[str, Any]) -> str | None:
    dimensions = request.get("dimensions")
    # bool is an int in Python, and not in JSON.
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        return f"'dimensions' is invalid: {dimensions!r} is not a positive integer"
    if request.get("encoding_format") not in _ENCODINGS:
        return f"'encoding_format' is invalid: {request['encoding_format']!r} is neither 'float' nor 'base64'"
    return None
