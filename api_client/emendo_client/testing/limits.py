"""What the test server refuses, as OpenAI would: requests of a wrong form or size, and unknown models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emendo_client.testing.answers import MAX_INPUTS, MAX_TOKENS, Answer, error, tokens_of

_FORMATS = (None, "float", "base64")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold; the defaults are OpenAI's, and may be lowered so that a test reaches them cheaply.

    Attributes:
        models: those the server knows; None knows every name.
        max_inputs: texts in one embeddings request.
        max_tokens: tokens in one text, at about four characters each.

    Raises:
        ValueError: a size below 1 or above OpenAI's.
    """

    models: frozenset[str] | None = None
    max_inputs: int = MAX_INPUTS
    max_tokens: int = MAX_TOKENS

    def __post_init__(self) -> None:
        for name, given, most in (
            ("max_inputs", self.max_inputs, MAX_INPUTS),
            ("max_tokens", self.max_tokens, MAX_TOKENS),
        ):
            if not 1 <= given <= most:
                raise ValueError(f"{name} must be between 1 and {most}, not {given}")

    def refusal(self, endpoint: str, request: dict[str, Any]) -> Answer | None:
        """The answer to a request that breaks a limit (400, or 404 for an unknown model); None when it keeps all."""
        wrong = _wrong_form(request, endpoint)
        if wrong is not None:
            return error(400, wrong)
        model = request["model"]
        if self.models is not None and model not in self.models:
            return error(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        return self._too_large(request["input"]) if endpoint == "embeddings" else None

    def _too_large(self, given: str | list[str]) -> Answer | None:
        texts = [given] if isinstance(given, str) else given
        if len(texts) > self.max_inputs:
            return error(400, f"'$.input' is invalid: {len(texts)} items; at most {self.max_inputs} are allowed")
        for index, text in enumerate(texts):
            tokens = tokens_of(text)
            if tokens > self.max_tokens:
                message = f"Invalid 'input[{index}]': maximum input length is {self.max_tokens} tokens, not {tokens}"
                return error(400, message, "context_length_exceeded")
        return None


def _wrong_form(request: dict[str, Any], endpoint: str) -> str | None:
    """What is wrong with the request's fields, as a sentence; None when nothing is."""
    if not isinstance(request.get("model"), str) or not request["model"]:
        return "you must provide a model parameter"
    return _wrong_messages(request) if endpoint == "chat" else _wrong_input(request) or _wrong_options(request)


def _wrong_messages(request: dict[str, Any]) -> str | None:
    messages = request.get("messages")
    fine = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
    return None if fine else "'messages' is invalid: it must be a list of objects"


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
    if request.get("encoding_format") not in _FORMATS:
        return f"'encoding_format' is invalid: {request['encoding_format']!r} is neither 'float' nor 'base64'"
    return None
