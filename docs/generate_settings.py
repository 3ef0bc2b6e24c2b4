"""Writes docs/reference/settings.md from the `Settings` class: `python docs/generate_settings.py`.

With `--check` it writes nothing and exits 1 if the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path

from generated_page import write_or_check
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from emendo_config import GatewaySettings, Settings
from emendo_config.environment import EnvironmentSettings

PAGE = Path(__file__).resolve().parent / "reference" / "settings.md"

INTRODUCTION = """\
# Settings

This page is generated from `emendo_config.Settings` and `GatewaySettings`; change these, then run
`python docs/generate_settings.py`.

Every process reads its settings from the environment at its start. An empty variable counts as unset. A value of the
wrong form, or two values that contradict each other, stop the process at once. The message says what to change.
`Settings(...)` in Python takes the same names in lower case and without the prefix. An empty default is explained in
the last column.
"""

RELATIONS = """\
## Relations between settings

- `EMENDO_DRAIN_BUDGET` < `EMENDO_TASK_SOFT_TIME_LIMIT` < `EMENDO_TASK_TIME_LIMIT` < `EMENDO_VISIBILITY_TIMEOUT` <
  `EMENDO_JOB_TTL`. Otherwise a job can run twice at once, or its record can expire while the job runs.
- `EMENDO_RETRY_BASE` ≤ `EMENDO_RETRY_MAX` < `EMENDO_VISIBILITY_TIMEOUT`.
- `EMENDO_SWEEP_INTERVAL` < `EMENDO_LEASE`. Otherwise a dead worker is detected too late.
- `EMENDO_STRONG_TIMEOUT` < `EMENDO_REDIS_TIMEOUT` if `EMENDO_STRONG_FSYNC` or `EMENDO_STRONG_REPLICAS` is set.
- `EMENDO_REDIS_URL` names database 0: Redis indexes no other one.
- The local embedder has a fixed model and fixed dimensions. Leave both settings unset.

An unset API key is read from `OPENAI_API_KEY`. With a key, an unset base URL is read from `OPENAI_BASE_URL`.
"""

GATEWAY = """\
## The gateway

The HTTP gateway also reads these; [the HTTP API](../how-to/http.md) explains them together.
"""


def page() -> str:
    """The text of docs/reference/settings.md."""
    return "\n".join((INTRODUCTION, *_table(Settings), "", RELATIONS, GATEWAY, *_table(GatewaySettings), ""))


def _table(settings: type[EnvironmentSettings]) -> list[str]:
    rows = [_row(settings.variable(name), field) for name, field in settings.model_fields.items()]
    return ["| variable | type | default | meaning |", "| --- | --- | --- | --- |", *rows]


def _row(variable: str, field: FieldInfo) -> str:
    cells = (f"`{variable}`", _type(field), _default(field), field.description or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (annotation,) = (part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation) if choice)
    if annotation is SecretStr:
        return "secret text"
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    name = names[typing.cast("type", annotation)]
    bounds = [bound for item in field.metadata for bound in _bounds(item)]
    return f"{name} {' and '.join(bounds)}" if bounds else name


def _bounds(item: object) -> list[str]:
    signs = types.MappingProxyType({"gt": ">", "ge": "≥", "lt": "<", "le": "≤"})
    return [f"{sign} {getattr(item, key):,}" for key, sign in signs.items() if getattr(item, key, None) is not None]


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value else ""  # empty and 0 mean: derived from other settings


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_settings.py"))
