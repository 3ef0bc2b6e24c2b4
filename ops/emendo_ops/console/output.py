"""Tables and lists for people, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emendo_config.visible_text import escaped, visible

# Columns whose cells people copy.
_WHOLE = ("memory", "id", "job", "event")
# Characters between two cells, and those that a folded cell has at least.
_BORDER, _LEAST = 3, 5


def prepare_streams() -> None:
    """Lets a terminal that does not know a character show its number, in place of an error.

    A stream that the caller has closed leads nowhere. Otherwise the next connection would get its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDONLY if name == "stdin" else os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))
            assert nowhere == number, f"{name} was closed after the start"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(text: str, *, err: bool = False) -> None:
    """Prints a line without hidden characters, in the stream's encoding; click would take UTF-8 for any terminal."""
    click.echo(visible(text), file=sys.stderr if err else sys.stdout)


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON that standard output and standard error can show, whatever their encoding."""
    unicode = all((stream.encoding or "").lower().startswith("utf") for stream in (sys.stdout, sys.stderr))
    return escaped(json.dumps(value, ensure_ascii=not unicode, indent=indent))


def print_json(value: Any) -> None:
    """Prints a model, a list of models, or plain values as JSON."""
    echo(as_json(_plain(value), indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table; None is an empty cell. On a terminal too narrow for it, each cell has a line."""
    console, rows = Console(), list(rows)
    if console.width < _least_width(columns, rows):
        echo(title)
        for row in rows:
            echo(
                "\n".join(
                    ("", *(f"{name}: {cell}" for name, cell in zip(columns, row, strict=True) if cell is not None))
                )
            )
        return
    table = Table(title=visible(title), title_justify="left")
    for column in columns:
        # People copy ids from here, so an id must not be broken over two lines.
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        # Text, because rich reads "[red]" in a plain str as markup and fails at "[/x]" in somebody's memory.
        table.add_row(*(Text("" if cell is None else _shown(str(cell))) for cell in row))
    console.print(table)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """The columns that a table needs, with some characters for each cell that may be folded."""
    width = 1 + _BORDER * len(columns)
    for number, column in enumerate(columns):
        whole = [len(str(row[number])) for row in rows] if column in _WHOLE else []
        width += max([min(len(column), _LEAST), *whole])
    return width


def print_entries(entries: Sequence[tuple[str, str]], *, nothing: str) -> None:
    """Prints each entry in two lines, or `nothing` if there is none.

    A table of 80 columns has no room beside an id, and would break the kinds and codes that people copy.
    """
    for first, second in entries:
        echo(f"{first}\n  {second}")
    if not entries:
        echo(nothing)


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def report_console(*, plain_width: int, stderr: bool = False) -> Console:
    """A console for wide tables: as wide as the terminal, or `plain_width` columns in a file or pipe."""
    console = Console(stderr=stderr)
    return console if console.file.isatty() else Console(stderr=stderr, width=plain_width)


def _shown(text: str) -> str:
    """The text without hidden characters, with the numbers of those that standard output cannot show.

    So columns stay aligned, and no text gives the terminal orders.
    """
    encoding = sys.stdout.encoding or "utf-8"
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
