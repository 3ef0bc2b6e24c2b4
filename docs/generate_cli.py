"""Writes docs/reference/cli.md from the `emendo` command: `python docs/generate_cli.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from generated_page import cell, write_or_check

from emendo_ops.cli.app import cli
from emendo_ops.console import exit_codes
from emendo_ops.console.examples import examples_of

PAGE = Path(__file__).resolve().parent / "reference" / "cli.md"

INTRODUCTION = f"""\
# The command line

This page is generated from the commands in `emendo_ops/cli/`, which say the same with `--help`. Change them there, then
run `python docs/generate_cli.py`.

The commands read their [settings](settings.md) from `EMENDO_…` variables. `EMENDO_PROJECT` names the project. Results
go to standard output, errors and progress to standard error. With `--json` both are JSON, and no progress is shown.
Long work shows a bar on a terminal, and a line every ten seconds in a log. `emendo completion` lets your shell complete
commands and options.

| exit code | meaning |
| --- | --- |
| 0 | done |
| {exit_codes.FAILED} | failed, or not all of it was done; a check found something wrong |
| {exit_codes.USAGE} | wrong usage: nothing was done |
| {exit_codes.INTERRUPTED} | interrupted with Ctrl-C; an accepted job goes on |
"""


def page() -> str:
    """The whole page, as it should stand in docs/reference/cli.md."""
    lines = [INTRODUCTION]
    for context in contexts(click.Context(cli, info_name="emendo")):
        lines += _section(context)
    return "\n".join(lines)


def contexts(context: click.Context) -> Iterator[click.Context]:
    """A context for each command below this one, as `emendo --help` would go through them."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, info_name=name)
        yield inner
        if isinstance(command, click.Group):
            yield from contexts(inner)


def _section(context: click.Context) -> list[str]:
    command = context.command
    depth = context.command_path.count(" ")
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    lines = [f"{'#' * (depth + 1)} {context.command_path}", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["```text", usage, "```", ""]
    if shown := examples_of(command):
        lines += ["```sh", *shown, "```", ""]
    options = [each for each in command.params if isinstance(each, click.Option)]
    if options:
        lines += ["| option | meaning |", "| --- | --- |"]
        for option in options:
            record = option.get_help_record(context)
            assert record is not None
            form = record[0].replace("|", ", ")  # the site would show the backslash of an escaped bar
            lines.append(f"| `{form}` | {cell(record[1])} |")
        lines.append("")
    return lines


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_cli.py"))
