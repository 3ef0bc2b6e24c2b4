"""A completion in chunks. Some servers stream although nobody asked for it, and some models cannot do otherwise.

The chunks are events of HTML's "server-sent events", each with one line of data, and end with `[DONE]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_STREAM = re.compile(rb"\s*(?::|data:|event:|id:|retry:)")
_DATA, _DONE = b"data:", b"[DONE]"
# Texts that come in pieces.
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


def completion_of(body: bytes) -> Any:
    """The completion as JSON values, whether it came whole or in chunks.

    Raises:
        ValueError: it is neither.
    """
    if not _STREAM.match(body):
        return json.loads(body)
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: dict[Any, dict[str, str]] = {}
    reason = usage = None
    for chunk in _chunks(body):
        usage = chunk.get("usage") or usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if chunk.get("error") or not isinstance(choice, Mapping) or choice.keys() & {"message", "error"}:
            return chunk  # an error, or the completion at once
        reason = choice.get("finish_reason") or reason
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            _extend(message, calls, delta)
    if calls:
        message["tool_calls"] = [{"type": "function", "function": call} for call in calls.values()]
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


def _chunks(body: bytes) -> Iterator[Mapping[str, Any]]:
    found = False
    for line in body.splitlines():
        data = line.removeprefix(_DATA).strip()
        if line.startswith(_DATA) and data and data != _DONE:
            chunk = json.loads(data)
            if isinstance(chunk, Mapping):
                found = True
                yield chunk
    if not found:
        raise ValueError("a stream without data")


def _extend(message: dict[str, Any], calls: dict[Any, dict[str, str]], delta: Mapping[str, Any]) -> None:
    """Appends a chunk's pieces to the message and to the calls of tools, which are told apart by their index."""
    for name in _TEXTS:
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    listed = delta.get("tool_calls")
    for call in listed if isinstance(listed, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            whole = calls.setdefault(call.get("index"), {"arguments": ""})
            whole["arguments"] += str(function.get("arguments") or "")
