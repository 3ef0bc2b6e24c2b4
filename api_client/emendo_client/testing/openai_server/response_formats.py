"""Checks `response_format` of a chat request as OpenAI does (structured outputs).

The rules and the words are those of https://platform.openai.com/docs/guides/structured-outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from emendo_client.testing.openai_server.answers import Answer, error
from emendo_client.testing.openai_server.texts import inputs_of

RESPONSE_FORMATS = frozenset({"text", "json_object", "json_schema"})
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def refusal(request: dict[str, Any], supported: AbstractSet[str]) -> Answer | None:
    """The 400 for an unsupported or malformed response format; None if it is valid or absent."""
    wanted = request.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(kind, str) or kind not in RESPONSE_FORMATS:
        return _refuse(f"Invalid value for 'response_format.type': {kind!r}")
    if kind not in supported:
        return _refuse(f"Invalid parameter: 'response_format' of type '{kind}' is not supported with this model.")
    if kind == "json_object" and not any("json" in text.lower() for text in inputs_of("chat", request)):
        return _refuse("'messages' must contain the word 'json' to use 'response_format' of type 'json_object'.")
    wrong = _wrong_schema(wanted.get("json_schema")) if kind == "json_schema" else None
    return None if wrong is None else _refuse(wrong)


def _refuse(message: str) -> Answer:
    return error(400, message, param="response_format")


def _wrong_schema(given: Any) -> str | None:
    if not isinstance(given, dict):
        return "Missing required parameter: 'response_format.json_schema'."
    name, schema = given.get("name"), given.get("schema", {})
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "Invalid 'response_format.json_schema.name': 1 to 64 letters, digits, underscores and dashes."
    try:
        problem = next(_not_strict(schema), None) if given.get("strict") else None
    except (AttributeError, TypeError):  # a keyword has a value of the wrong type
        problem = "it is not a JSON Schema."
    return None if problem is None else f"Invalid schema for response_format '{name}': {problem}"


def _not_strict(root: dict[str, Any]) -> Iterator[str]:
    """The reasons for which strict mode refuses a schema."""
    if root.get("type") != "object":
        yield "schema must be a JSON Schema of 'type: \"object\"'."
    for context, schema in _objects(root, ()):
        if schema.get("additionalProperties") is not False:
            yield f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            yield f"In context={context}, 'required' is required to be an array including every key in properties."


def _objects(schema: Any, context: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The parts of a schema that describe objects, outermost first, each with its path."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _objects(part, (*context, str(index)))
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        yield context, schema
    for keyword in ("items", "anyOf"):
        yield from _objects(schema.get(keyword), (*context, keyword))
    for keyword in ("properties", "$defs"):
        for name, part in schema.get(keyword, {}).items():
            yield from _objects(part, (*context, keyword, name))
