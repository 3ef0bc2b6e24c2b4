"""An example of every document: from those of its fields, and of the fields' names and types."""

from __future__ import annotations

from typing import Any

_ID = "8e03978e-40d5-43dd-bc93-6894a57f9324"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
# The value of a field of this name, if it has the type.
_FIELDS: dict[str, Any] = {
    "id": _ID,
    "memory_id": _ID,
    "job_id": _ID,
    "request_id": _ID,
    "url": f"/api/v1/jobs/{_ID}",
    "memory": "I dislike seafood.",
    "text": "I dislike seafood.",
    "query": "fish",
    "user_id": "ana",
    "agent_id": "assistant",
    "run_id": "run-7",
    "actor_id": "ana",
    "role": "user",
    "metadata": {"topic": "food"},
    "status": "succeeded",
    "version": 1,
    "score": 0.87,
    "event": "ADD",
    "hash": "9f86d081884c7d65",
}
_DEFAULTS: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 0.5,
    "boolean": False,
    "object": {},
    "null": None,
    "date-time": "2030-01-31T12:00:00Z",
}
_DEEPEST = 8
_NULL = {"type": "null"}


def complete(schemas: dict[str, Any]) -> None:
    """Gives each schema of an object an example, unless it has one."""
    for schema in schemas.values():
        if schema.get("type") == "object" and "examples" not in schema:
            schema["examples"] = [_example("", schema, schemas, 0)]


def _example(name: str, schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> Any:
    schema = _plain(name, schema, schemas)
    kind = schema.get("type", "object")
    given = _FIELDS.get(name)
    if schema.get("examples"):
        found = schema["examples"][0]
    elif "enum" in schema:
        found = given if given in schema["enum"] else schema["enum"][0]
    elif "const" in schema:
        found = schema["const"]
    elif schema.get("format") in _DEFAULTS:
        found = _DEFAULTS[schema["format"]]
    elif isinstance(given, _TYPES.get(kind, ())):
        found = given
    elif kind == "array":
        found = [_example(name, schema.get("items", {}), schemas, depth + 1)] if depth < _DEEPEST else []
    elif kind == "object" and "properties" in schema and depth < _DEEPEST:
        found = {field: _example(field, each, schemas, depth + 1) for field, each in schema["properties"].items()}
    else:
        found = _DEFAULTS[kind]
    return found


def _plain(name: str, schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, behind references and choices. Of what may be null, most is."""
    while True:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            kinds = schema["anyOf"]
            schema = _NULL if _NULL in kinds and name not in _FIELDS else kinds[0]
        else:
            return schema
