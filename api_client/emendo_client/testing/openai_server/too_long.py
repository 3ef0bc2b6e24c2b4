"""How servers say that an input has too many tokens: statuses and bodies in the shapes that they were seen to have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from emendo_client.testing.openai_server.answers import Answer, json_answer

Server = Literal["openai", "azure", "vllm", "tei", "ollama", "ollama-500", "llama.cpp", "litellm", "gemini", "cohere"]
SERVERS: tuple[str, ...] = get_args(Server)


def _openai(most: int, given: int, place: int) -> dict[str, Any]:
    message = f"Invalid 'input[{place}]': maximum input length is {most} tokens, not {given}"
    return {"error": _error(message, "invalid_request_error", "context_length_exceeded")}


def _azure(most: int, given: int, _: int) -> dict[str, Any]:
    message = f"This model's maximum context length is {most} tokens, however you requested {given} tokens."
    return {"error": _error(message, "invalid_request_error")}


def _vllm(most: int, given: int, _: int) -> dict[str, Any]:
    message = f"This model's maximum context length is {most} tokens. However, you requested {given} tokens."
    return {"object": "error", **_error(message, "BadRequestError", 400)}


def _tei(most: int, given: int, _: int) -> dict[str, Any]:
    message = f"Input validation error: `inputs` must have less than {most} tokens. Given: {given}"
    return {"error": message, "error_type": "Validation"}


def _ollama(*_: int) -> dict[str, Any]:
    return {"error": _error("the input length exceeds the context length", "api_error")}


def _llama(most: int, given: int, _: int) -> dict[str, Any]:
    message = f"input is too large to process. increase the physical batch size (given {given}, size {most})"
    return {"error": {"code": 500, "message": message, "type": "server_error"}}


def _litellm(most: int, given: int, _: int) -> dict[str, Any]:
    message = f"litellm.ContextWindowExceededError: {given} tokens, at most {most}"
    return {"error": _error(message, None, "400")}


def _gemini(most: int, given: int, _: int) -> list[dict[str, Any]]:
    message = f"The input token count ({given}) exceeds the maximum number of tokens allowed ({most})."
    return [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]


def _cohere(most: int, given: int, _: int) -> dict[str, Any]:
    return {"message": f"too many tokens: total number of tokens is {given}, at most {most} are allowed"}


def _error(message: str, kind: str | None, code: str | int | None = None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code}


_BODIES: dict[str, tuple[int, Callable[[int, int, int], Any]]] = {
    "openai": (400, _openai),
    "azure": (400, _azure),
    "vllm": (400, _vllm),
    "tei": (413, _tei),
    "ollama": (400, _ollama),
    "ollama-500": (500, _ollama),
    "llama.cpp": (500, _llama),
    "litellm": (400, _litellm),
    "gemini": (400, _gemini),
    "cohere": (400, _cohere),
}


def too_long(server: str, most: int, given: int, place: int = 0) -> Answer:
    """The server's answer to an input of so many tokens.

    Args:
        server: one of SERVERS.
        most, given: tokens that the model takes, and tokens of the input.
        place: of the input in its request.
    """
    status, body = _BODIES[server]
    return json_answer(status, body(most, given, place))
