"""Writes docs/reference/http.md from the gateway's OpenAPI documents: `python docs/generate_http.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from generated_page import cell, write_or_check
from starlette.testclient import TestClient

from emendo_config import GatewaySettings, Settings
from emendo_gateway.admission.kinds import MEM0_DOCUMENT
from emendo_gateway.app import create_app

PAGE = Path(__file__).resolve().parent / "reference" / "http.md"

INTRODUCTION = """\
# HTTP

This page is generated from the OpenAPI document of the gateway, which answers it at `/openapi.json`. Change the routes
in `emendo_gateway/native/` and `emendo_gateway/mem0/`, then run `python docs/generate_http.py`.

[Use Emendo over HTTP](../how-to/http.md) shows calls from a shell, and explains keys, waits and preconditions. A
request has its key in `Authorization: Bearer`. Bodies and answers are JSON. [Errors](errors.md) explains the codes of
problems.
"""

SHARED_PARAMETERS = """\
## Parameters of many calls

The calls name these without an explanation.
"""

SHARED_ANSWERS = """\
## Answers to any call

The calls have only their other answers. An answer from 400 on is a [ProblemDetails](#problemdetails).
"""

DOCUMENTS = """\
## Documents

A field in bold must be there. Answers have all their fields; `null` stands for what is not known.
"""

MEM0 = f"""\
## mem0's calls

[Use mem0's clients](../how-to/mem0-clients.md) says what they do here. Their OpenAPI document is at `{MEM0_DOCUMENT}`.
"""

_NOTHING_SAID = "Successful Response"  # FastAPI's text for an answer without a description
_NAMES = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}
_MANY = 4  # calls with a parameter, from which on it is explained once
Operation = tuple[str, str, dict[str, Any]]


def page() -> str:
    """The whole page, as it should stand in docs/reference/http.md."""
    app = create_app(Settings(), GatewaySettings())
    document, mem0 = app.openapi(), TestClient(app, base_url="http://127.0.0.1").get(MEM0_DOCUMENT).json()
    calls = list(_operations(document))
    shared = _shared_parameters(calls)
    common = _common_answers(calls)
    lines = [INTRODUCTION, SHARED_PARAMETERS]
    lines += _table(("parameter", "in", "meaning"), ((f"`{name}`", *rest) for name, rest in sorted(shared.items())))
    lines += ["", SHARED_ANSWERS, *_table(("status", "meaning"), common.items()), ""]
    for tag, of_tag in itertools.groupby(calls, key=lambda call: call[2]["tags"][0]):
        lines += [f"## {tag[:1].upper()}{tag[1:]}", ""]
        for call in of_tag:
            lines += [*_call(call, shared, common), ""]
    lines.append(DOCUMENTS)
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", *_document(schema), ""]
    rows = (
        (f"`{method.upper()} {path}`", operation.get("description") or operation["summary"])
        for method, path, operation in _operations(mem0)
    )
    lines += [MEM0, *_table(("call", "what it does"), rows), ""]
    return "\n".join(lines)


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _shared_parameters(calls: Iterable[Operation]) -> dict[str, tuple[str, str]]:
    """The place and meaning of each parameter that many calls have with the same meaning."""
    found = Counter(
        (parameter["name"], parameter["in"], parameter.get("description", ""))
        for _, _, operation in calls
        for parameter in operation.get("parameters", ())
    )
    return {name: (place, meaning) for (name, place, meaning), count in found.items() if meaning and count >= _MANY}


def _common_answers(calls: list[Operation]) -> dict[str, str]:
    """The status and meaning of each answer that all calls with a key have."""
    with_key = [operation["responses"] for _, _, operation in calls if operation.get("security")]
    first = with_key[0]
    same = {status for status in first if all(status in answers for answers in with_key)}
    return {status: first[status]["description"] for status in sorted(same)}


def _call(call: Operation, shared: dict[str, tuple[str, str]], common: dict[str, str]) -> list[str]:
    method, path, operation = call
    lines = [f"### {operation['summary']}", "", f"`{method.upper()} {path}`", "", operation["description"]]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    facts = [f"body: {_type(body)}"] if body else []
    known = [each for each in operation.get("parameters", ()) if each["name"] in shared]
    if known:
        names = ", ".join(f"`{each['name']}`" for each in known)
        facts.append(f"parameters of many calls: {names}")
    for each in operation.get("parameters", ()):
        if each not in known and each["in"] != "path":
            meaning = each.get("description", "")
            facts.append(f"`{each['name']}`, {each['in']}, {_type(each['schema'])}{f': {meaning}' if meaning else ''}")
    for status, answer in sorted(operation["responses"].items()):
        if common.get(status) == answer["description"]:
            continue
        schema = next(iter(answer.get("content", {}).values()), {}).get("schema")
        kind = f", {_type(schema)}" if schema and int(status) < 400 else ""  # noqa: PLR2004  # where errors begin
        meaning = answer["description"]
        facts.append(f"answer {status}{kind}{'' if meaning == _NOTHING_SAID else f': {meaning}'}")
    return [*lines, "", *(f"- {fact}" for fact in facts)] if facts else lines


def _document(schema: dict[str, Any]) -> list[str]:
    about, _, attributes = schema.get("description", "").partition("Attributes:\n")
    lines = [f"{about.strip()}\n"] if about.strip() else []
    if "enum" in schema:
        return [*lines, f"One of {', '.join(f'`{value}`' for value in schema['enum'])}."]
    meanings = _meanings(attributes)
    required = schema.get("required", ())
    rows = (
        (
            f"**`{name}`**" if name in required else f"`{name}`",
            _type(each),
            each.get("description") or meanings.get(name, ""),
        )
        for name, each in schema.get("properties", {}).items()
    )
    return [*lines, *_table(("field", "type", "meaning"), rows)]


def _meanings(attributes: str) -> dict[str, str]:
    """The meaning of each field that a docstring's section explains."""
    found, names = dict[str, str](), list[str]()
    for line in attributes.splitlines():
        if entry := re.match(r"\s*(\w+(?:, \w+)*): (.*)", line):
            names = entry[1].split(", ")
            found.update(dict.fromkeys(names, entry[2].strip()))
        else:
            found.update({name: f"{found[name]} {line.strip()}".strip() for name in names})
    return found


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    kind = schema.get("type", "")
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found = f"[{name}](#{name.lower()})"
    elif several := schema.get("anyOf") or schema.get("oneOf"):
        found = " or ".join(dict.fromkeys(_type(each) for each in several))
    elif values := schema.get("enum") or [schema[each] for each in ("const",) if each in schema]:
        found = ", ".join(f"`{value}`" for value in values)
    elif kind == "array":
        found = f"list of {_type(schema.get('items', {}))}"
    elif kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        found = f"object of {_type(values)}"
    else:
        found = "time" if schema.get("format") == "date-time" else _NAMES.get(kind, kind or "any JSON")
    return found


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    return head + [f"| {' | '.join(cell(each) for each in row)} |" for row in rows]


def _without_settings() -> None:
    """The page is the same whatever the caller's settings are."""
    for name in [name for name in os.environ if re.match("EMENDO_|OPENAI_", name)]:
        del os.environ[name]


if __name__ == "__main__":
    _without_settings()
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_http.py"))
