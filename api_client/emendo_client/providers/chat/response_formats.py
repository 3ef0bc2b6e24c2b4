"""Response formats: a document is requested by its schema if the server has structured outputs, else in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel

from emendo_client.providers.chat.base import Message

# Keywords whose values are schemas by name, and keywords that strict mode does not take.
_NAMED = ("properties", "$defs")
_LEFT_OUT = ("default", "title", "examples")


class ResponseFormat(Enum):
    """The formats, from the strictest to the one that every server accepts."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    TEXT = "text"

    @property
    def simpler(self) -> ResponseFormat | None:
        """The next format to try; None after the last."""
        later = list(ResponseFormat)[list(ResponseFormat).index(self) + 1 :]
        return later[0] if later else None

    def request(self, messages: Sequence[Message], answer_type: type[BaseModel]) -> dict[str, Any]:
        """The request's messages and response format."""
        schema = strict_schema(answer_type)
        if self is ResponseFormat.SCHEMA:
            wanted = {"name": answer_type.__name__, "strict": True, "schema": schema}
            return {"messages": list(messages), "response_format": {"type": "json_schema", "json_schema": wanted}}
        worded = {"messages": _in_words(messages, schema)}
        return worded if self is ResponseFormat.TEXT else {**worded, "response_format": {"type": "json_object"}}


def strict_schema(answer_type: type[BaseModel]) -> dict[str, Any]:
    """The type's JSON Schema for strict mode: every property is required, and no others are allowed.

    Rules: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas

    Raises:
        TypeError: a part allows arbitrary properties, which strict mode cannot describe.
    """
    schema: dict[str, Any] = _strict(answer_type.model_json_schema())
    return schema


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # strict mode allows no keyword beside it
    if schema.get("additionalProperties"):
        raise TypeError("strict mode cannot describe a mapping; use a list of names and values")
    strict = {
        keyword: {name: _strict(part) for name, part in value.items()} if keyword in _NAMED else _strict(value)
        for keyword, value in schema.items()
        if keyword not in _LEFT_OUT
    }
    if strict.get("type") == "object":
        properties = strict.setdefault("properties", {})
        strict |= {"required": list(properties), "additionalProperties": False}
    return strict


def _in_words(messages: Sequence[Message], schema: dict[str, Any]) -> list[Message]:
    """The messages, with the schema appended to the instructions."""
    words = (
        "Answer with one JSON object and nothing else: no explanation, no code fence. "
        f"It must match this JSON Schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )
    first, *others = messages
    if first["role"] != "system":
        return [{"role": "system", "content": words}, *messages]
    return [{"role": "system", "content": f"{first['content']}\n\n{words}"}, *others]
