"""Where servers put a chat model's answer: the parts of a completion's message that may hold the document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from emendo_client.providers.chat.thoughts import has_thoughts

# Fields of a message for the thoughts of reasoning models.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def message_of(body: Any) -> tuple[Mapping[str, Any], str] | None:
    """The first choice's message and finish reason; None when the completion has no message."""
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        return None
    message = choice.get("message")
    if not isinstance(message, Mapping):
        if not isinstance(choice.get("text"), str):  # as in completions without chat
            return None
        message = {"content": choice["text"]}
    reason = choice.get("finish_reason")
    return message, reason if isinstance(reason, str) else ""


def has_refusal(message: Mapping[str, Any]) -> bool:
    """True when the model says that it will not answer."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return bool(message.get("refusal")) or any(isinstance(part, Mapping) and part.get("refusal") for part in parts)


def texts_of(message: Mapping[str, Any]) -> Iterator[str]:
    """The texts that may hold the document, likeliest first; of thoughts the end, when there is nothing else."""
    texts = [content_of(message), *_arguments(message)]
    if any(text.strip() for text in texts):
        yield from texts
        return
    # A server that takes the thoughts out, and finds no end of them, takes the answer for a part of them.
    for name in _THOUGHTS:
        thought = message.get(name)
        if isinstance(thought, str):
            yield _last_paragraph(thought)


def is_thinking(message: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """True if a model spent its tokens on thoughts, or on something that is not shown."""
    content = content_of(message)
    usage = body.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    counted = details.get("reasoning_tokens") if isinstance(details, Mapping) else None
    return not content.strip() or has_thoughts(content) or bool(counted) or any(map(message.get, _THOUGHTS))


def content_of(message: Mapping[str, Any]) -> str:
    """The content as one text, without parts that are none."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(_text_of(part) for part in content)
    return _written(content)


def _text_of(part: Any) -> str:
    if not isinstance(part, Mapping):
        return part if isinstance(part, str) else ""
    text = part.get("text")
    if isinstance(text, Mapping):
        text = text.get("value")
    return text if isinstance(text, str) and part.get("type", "text") in ("text", "output_text") else ""


def _arguments(message: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of functions that the model wants called: some servers ask for a document in this way."""
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    for function in [*functions, message.get("function_call")]:
        if isinstance(function, Mapping):
            yield _written(function.get("arguments"))


def _written(value: Any) -> str:
    """A value that may have been parsed already, as a text."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, Mapping) else ""


def _last_paragraph(thought: str) -> str:
    """The end of a thought if it is one value: a draft stands before it, or in the midst of words."""
    stripped = thought.rstrip()
    return stripped.rpartition("\n\n")[2] if stripped.endswith(("}", "]", "```")) else ""
