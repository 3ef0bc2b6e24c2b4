"""Writes docs/reference/settings.md from the `Settings` class: `python docs/generate_settings.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from emendo_config import Settings

PAGE = Path(__file__).resolve().parent / "reference" / "settings.md"

INTRODUCTION = """\
# Settings

This page is generated from `emendo_config.Settings`; change the class, then run `python docs/generate_settings.py`.

Every process reads its settings from the environment when it starts. An empty variable counts as not set. A value of
the wrong form, or two values that cannot hold together, stop the process at once with a message that says what to
change. `Settings(...)` in Python takes the same names without the prefix and in lower case. Where the default is
empty, the last column says what happens.
"""

RELATIONS = """\
## What must hold between them

- `EMENDO_DRAIN_BUDGET` < `EMENDO_TASK_SOFT_TIME_LIMIT` < `EMENDO_TASK_TIME_LIMIT` < `EMENDO_VISIBILITY_TIMEOUT` <
  `EMENDO_JOB_TTL`: otherwise a job could run twice at once, or its record vanish while it is worked on.
- `EMENDO_RETRY_BASE` ≤ `EMENDO_RETRY_MAX` < `EMENDO_VISIBILITY_TIMEOUT`.
- `EMENDO_SWEEP_INTERVAL` < `EMENDO_LEASE`: otherwise a dead worker is noticed too late.
- `EMENDO_REDIS_URL` names database 0: Redis indexes no other.
- With the local embedder the model and its dimensions are fixed; leave both unset.

Besides these, `OPENAI_API_KEY` is read when `EMENDO_EMBEDDING_API_KEY` is not set.
"""


def page() -> str:
    """The whole page, as it should stand in docs/reference/settings.md."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    table = ["| variable | type | default | what |", "| --- | --- | --- | --- |", *rows]
    return "\n".join((INTRODUCTION, *table, "", RELATIONS))


def _row(name: str, field: FieldInfo) -> str:
    prefix = Settings.model_config["env_prefix"]
    cells = (f"`{prefix}{name.upper()}`", _type(field), _default(field), field.description or "")
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
    return f"`{value}`" if value else ""  # empty and 0 stand for: follows from other settings


def main(arguments: list[str]) -> int:
    """Writes the page, or with `--check` says whether it is fresh."""
    text = page()
    if "--check" in arguments:
        fresh = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not fresh:
            sys.stderr.write("docs/reference/settings.md is stale; run: python docs/generate_settings.py\n")
        return 0 if fresh else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
