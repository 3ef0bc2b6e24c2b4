"""Writes docs/reference/keys.md from `emendo_config.Keys`: `python docs/generate_keys.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from generated_page import cell, write_or_check

from emendo_config import Keys
from emendo_config.store import keys

PAGE = Path(__file__).resolve().parent / "reference" / "keys.md"

INTRODUCTION = """\
# Keys in Redis

This page is generated from `emendo_config/store/keys.py`, where every name is built. Change it there, then run
`python docs/generate_keys.py`.

The names begin with `EMENDO_KEY_PREFIX`, which is `emendo:` unless it is set. The braces keep all keys of a memory in
one cluster slot. [The design](../design.md#data-in-redis) says what the keys are for, and [sizing](../sizing.md) how
large they are. No program but Emendo should write them.
"""

# Other members of the class are prefixes, patterns for SCAN, and the way back from a name.
_KIND = re.compile(r"(Hash|List|Set|Sorted set|Stream|String|Any type|Pub/sub channel)(?=[ ,:])")
_SECTION = re.compile(r"    # ([^:]+?)(?::.*|\.)\n\n")


def page() -> str:
    """The whole page, as it should stand in docs/reference/keys.md."""
    lines = [INTRODUCTION]
    section = ""
    for title, name, kind, meaning in entries():
        if title != section:
            lines += [*([""] if section else []), f"## {title}", "", "| key | type | meaning |", "| --- | --- | --- |"]
            section = title
        lines.append(f"| `{cell(name)}` | {kind} | {cell(meaning)} |")
    return "\n".join([*lines, ""])


def entries() -> Iterator[tuple[str, str, str, str]]:
    """(section, name, type, meaning) of each key, in the order of the source."""
    source = inspect.getsource(keys)
    sections = [(source.count("\n", 0, found.start()) + 1, found[1]) for found in _SECTION.finditer(source)]
    (tree,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Keys")
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and _KIND.match(text := ast.get_docstring(function) or ""):
            title = [title for line, title in sections if line < function.lineno][-1]
            kind, _, meaning = text.partition(":")
            yield title, _name(function), kind, meaning.split("\n\n")[0].strip()


def _name(function: ast.FunctionDef) -> str:
    """The name that the function makes, with `<memory id>` in place of a memory's id."""
    member = getattr(Keys, function.name)
    if isinstance(member, property):
        return str(getattr(Keys(), function.name))
    parameters = [argument.arg for argument in function.args.args[1:]]
    name = str(getattr(Keys(), function.name)(*(f"<{each.replace('_', ' ')}>" for each in parameters)))
    return name.replace(f":{len('<project>')}:", ":<length of project>:")  # of an idempotency key


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_keys.py"))
