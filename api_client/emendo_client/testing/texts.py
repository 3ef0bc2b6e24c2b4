"""The texts of a request, and about how many tokens they have."""

from __future__ import annotations

from typing import Any


def inputs_of(endpoint: str, request: dict[str, Any]) -> list[str]:
    """The texts to embed, or the messages' contents; whatever form the request has, since refused ones are logged."""
    if endpoint == "embeddings":
        given = request.get("input")
        return [given] if isinstance(given, str) else [str(text) for text in given] if isinstance(given, list) else []
    messages = request.get("messages")
    if not isinstance(messages, list):
        return []
    return [_text_of(message.get("content")) for message in messages if isinstance(message, dict)]


def tokens_of(text: str) -> int:
    """About what a tokeniser would count."""
    return max(1, len(text) // 4)


def _text_of(content: Any) -> str:
    """A message's content: a string, or a list of parts of which some are text."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
