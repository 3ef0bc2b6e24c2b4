"""The demo's conversations and corrections, from `sample.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: an add with a key, or a change to the index-th memory of an earlier add."""

    op: Literal["add", "update", "delete", "restore"]
    key: str = ""
    user_id: str = ""
    agent_id: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)
    target: str = ""
    index: int = 0
    text: str | None = None
    metadata: dict[str, Any] | None = None


def read_sample() -> list[Line]:
    """All lines, in order. A message with `repeat` has its content repeated that many times."""
    source = resources.files("emendo_ops.demo").joinpath("sample.jsonl").read_text(encoding="utf-8")
    return [_line(json.loads(text)) for text in source.splitlines()]


def _line(document: dict[str, Any]) -> Line:
    messages = [
        {"role": message["role"], "content": message["content"] * message.get("repeat", 1)}
        for message in document.get("messages", [])
    ]
    return Line(**{**document, "messages": messages})
