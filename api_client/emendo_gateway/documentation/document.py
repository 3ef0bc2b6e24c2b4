"""Completes FastAPI's OpenAPI document: keys, errors and headers as they are answered, examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts

from emendo_gateway.admission.kinds import DOCUMENT, MEM0_DOCUMENT, OPEN_PATHS
from emendo_gateway.callers import Dialect, dialect_of
from emendo_gateway.documentation import examples
from emendo_gateway.problems.problem import PROBLEM_JSON

DESCRIPTION = """\
Long-term memories of AI applications, added and updated by workers.

A write is accepted with 202 and a job. `Location` is the job's address, and `Prefer: wait=10` waits for its result.
Errors are problem details (RFC 9457); `type` leads to a page that explains the code.
"""
MEM0_DESCRIPTION = """\
The calls of mem0's own clients, as this server answers them. Programs that are made for Emendo use `/openapi.json`.

Parameters that are accepted and have no effect are named in `X-Ignored-Params`.
"""
_RETRY = {"description": "Seconds after which another attempt makes sense.", "schema": {"type": "integer"}}
# Fields of answers by their status, whatever the route.
_HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"description": "The schemes of a key.", "schema": {"type": "string"}}},
    "429": {"Retry-After": _RETRY},
    "503": {"Retry-After": _RETRY},
    "504": {"Retry-After": _RETRY},
}
_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
# Answers to requests that no route sees.
_ANY = {
    "400": "The request has no Host that the gateway knows.",
    "431": "The head of the request is too large.",
}


def operation_id(route: APIRoute) -> str:
    """The name of a route in generated clients: its subject and its function."""
    return "_".join([*(str(tag) for tag in route.tags[:1]), route.name])


def describe(app: FastAPI) -> None:
    """Makes `/openapi.json` complete, and adds the document of mem0's calls: no native client is made of those."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, "native", DESCRIPTION)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    found: dict[str, Any] = {}

    async def natives() -> Response:
        return JSONResponse(openapi())

    async def mem0s() -> Response:
        if not found:
            found.update(_document(app, "mem0", MEM0_DESCRIPTION))
        return JSONResponse(found)

    app.add_api_route(DOCUMENT, natives, include_in_schema=False)
    app.add_api_route(MEM0_DOCUMENT, mem0s, include_in_schema=False)


def _document(app: FastAPI, dialect: Dialect, description: str) -> dict[str, Any]:
    routes = [each for each in iter_route_contexts(app.routes) if dialect_of(each.path or "") == dialect]
    document = get_openapi(title=app.title, version=app.version, description=description, routes=routes)
    _complete(document, is_native=dialect == "native")
    return _renamed(document)


def _complete(document: dict[str, Any], *, is_native: bool) -> None:
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "em_<id>_<secret>",
            "description": "A key that `emendo keys create` made. `Token` is understood in place of `Bearer`.",
        }
    }
    schemas = components.setdefault("schemas", {})
    for path, operation in _operations(document):
        if path not in OPEN_PATHS:
            operation["security"] = [{"key": []}]
        for parameter in operation.get("parameters", ()):
            _complete_parameter(parameter)
        _complete_answers(operation["responses"], is_native=is_native)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _require_what_is_sent(document)
    examples.complete(schemas)


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the modules' names: FastAPI has them in schemas of the same name."""
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        *module, short = name.split("__")
        if module:
            plain = short if module[-1] == "models" else f"{module[-1].title()}{short}"
            text = text.replace(f'"{name}"', f'"{plain}"').replace(f'/{name}"', f'/{plain}"')
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _require_what_is_sent(document: dict[str, Any]) -> None:
    """Answers have all their fields, also those with a default: a client need not ask whether they are there."""
    schemas = document["components"]["schemas"]
    received: set[str] = set()
    waiting = [operation.get("requestBody", {}) for _, operation in _operations(document)]
    while waiting:
        new = set(_REFERENCE.findall(json.dumps(waiting.pop()))) - received
        received |= new
        waiting += [schemas[name] for name in new]
    for name, schema in schemas.items():
        if name not in received and name != "ProblemDetails" and "properties" in schema:  # it leaves out what is null
            schema["required"] = list(schema["properties"])


def _complete_parameter(parameter: dict[str, Any]) -> None:
    """No parameter can be null: it is left out. FastAPI says it for each that has no other default."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
    schema.pop("title", None)


def _complete_answers(answers: dict[str, Any], *, is_native: bool) -> None:
    if "HTTPValidationError" in str(answers.get("422")):  # FastAPI's own; ours is 400
        del answers["422"]
    for status, description in _ANY.items():
        answers.setdefault(status, {"description": description})
    for status, answer in answers.items():
        answer.setdefault("headers", {}).update(_HEADERS.get(status, {}))
        if not answer["headers"]:
            del answer["headers"]
        if not is_native:
            continue
        schema = answer.get("content", {}).get("application/json", {}).get("schema", _PROBLEM)
        if int(status) >= 400 and schema == _PROBLEM:  # noqa: PLR2004  # where errors begin
            answer["content"] = {PROBLEM_JSON: {"schema": _PROBLEM}}
