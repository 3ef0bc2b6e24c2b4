"""The texts of a request, and an estimate of their tokens."""

from __future__ import annotations

from typing import Any


def inputs_of(endpoint: str, request: dict[str, Any]) -> list[str]:
    """The texts to embed, or the messages' contents; for malformed requests too, since refused ones are logged."""
    if endpoint == "embeddings":
        given = request.get("input")
        return [given] if isinstance(given, str) else [str(text) for text in given] if isinstance(given, list) else []
    messages = request.get("messages")
    if not isinstance(messages, list):
        return []
    return [_text_of(message.get("content")) for message in messages if isinstance(message, dict)]


def tokens_of(text: str) -> int:
    """An estimate of the token count: a quarter of the characters."""
    return max(1, len(text) // 4)


def _text_of(content: Any) -> str:
    """A message's content, given as a string or as a list of parts, some of them text."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
