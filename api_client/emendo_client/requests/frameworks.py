"""Messages of frameworks that give no role: pydantic-ai's and AutoGen's, as messages with a role and content parts.

A part says by its `type` what it is. Only texts are taken over, since all else is left out and counted.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

# pydantic-ai's names of parts. Others, such as a compaction, are of use to its own models only.
_SYSTEM = ("system-prompt", "instruction")
_RESULTS = ("tool-return", "builtin-tool-return", "retry-prompt", "retry-feedback")
_KINDS = {"thinking": "thinking", "tool-call": "tool_call", "builtin-tool-call": "tool_call", "speech": "audio"}
_WITH_TEXT = ("text-content", "structured-content")
# AutoGen's names of classes.
_AUTOGEN = re.compile(r"^(?:(?:Text|MultiModal|Handoff|Stop|Structured)Message|\w+Event$)")
_OUTPUT = ("ToolCallExecutionEvent", "ToolCallSummaryMessage", "FunctionExecutionResultMessage")
_EVENTS = {"ThoughtEvent": "thinking", "ToolCallRequestEvent": "tool_call"}
_PERSON = re.compile(r"user|human", re.IGNORECASE)  # how the name of an agent that stands for a person begins


def mapping_of(value: Any) -> Mapping[str, Any] | None:
    """A mapping, or an object that can be one: a pydantic model of either version or a dataclass; else None."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None) or getattr(value, "dict", None)
    dumped = dump() if callable(dump) else None
    return dumped if isinstance(dumped, Mapping) else None


def with_roles(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The message with a role; pydantic-ai's may hold several. One of another kind is returned as it is."""
    if message.get("role") is not None:
        return [message]
    kind, parts = message.get("kind"), message.get("parts")
    if kind in ("request", "response") and isinstance(parts, list | tuple):
        speaker = "user" if kind == "request" else "assistant"
        spoken = groupby(_pydantic_ai_parts(parts, speaker), key=lambda part: part[0])
        found = [{"role": role, "content": [part for _, part in group]} for role, group in spoken]
        return found or [{"role": speaker, "content": None}]
    return [_with_autogen_role(message)]


def _pydantic_ai_parts(parts: list[Any] | tuple[Any, ...], speaker: str) -> Iterator[tuple[str, Any]]:
    """Role and content part."""
    for each in parts:
        part = mapping_of(each)
        if part is None:
            yield speaker, each  # refused with its index
            continue
        kind, content = part.get("part_kind"), part.get("content")
        if kind in _SYSTEM:
            yield "system", content
        elif kind == "user-prompt" and isinstance(content, list | tuple):
            yield from ((speaker, _pydantic_ai_content(item)) for item in content)
        elif kind in ("user-prompt", "text"):
            yield speaker, _text(content)
        elif kind == "speech" and part.get("transcript"):
            yield speaker, _text(part["transcript"])
        elif kind in _RESULTS:  # most are JSON of the tool's own
            yield speaker, {"type": "tool_result", "content": content if isinstance(content, str) else None}
        elif kind == "file":
            yield speaker, _pydantic_ai_content(content)
        else:
            yield speaker, {"type": _KINDS.get(str(kind), "other")}


def _pydantic_ai_content(item: Any) -> Any:
    part = mapping_of(item)
    if part is None:
        return item
    if part.get("kind") in _WITH_TEXT:
        return _text(part.get("content"))
    return {"type": part["media_type"] if part.get("kind") == "binary" else part.get("kind")}


def _text(content: Any) -> dict[str, Any]:
    return {"type": "text", "text": content}


def _with_autogen_role(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """AutoGen's message with a role, which its `source` decides: the name of an agent."""
    kind, source, content = str(message.get("type")), message.get("source"), message.get("content")
    if kind in _OUTPUT:
        results = content if isinstance(content, list | tuple) else [message]
        return {"role": "tool", "content": [(mapping_of(each) or {}).get("content") or "" for each in results]}
    if not isinstance(source, str) or not _AUTOGEN.search(kind):
        return message
    if kind.endswith("Event"):
        parts = content if kind in _EVENTS and isinstance(content, list) else [content]
        return {"role": "assistant", "content": [{"type": _EVENTS.get(kind, "other")} for _ in parts]}
    role = "user" if _PERSON.match(source) else "assistant"
    return {"role": role, "content": content, "name": None if source == role else source}
