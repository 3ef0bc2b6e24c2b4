"""Questions before a step that cannot be undone."""

from __future__ import annotations

import sys

import click

from emendo_ops.console.output import echo


def confirmed(question: str, *, yes: bool) -> bool:
    """True if `--yes` was given or the person at the terminal agrees.

    Raises:
        click.UsageError: standard input is no terminal, so nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone, and nobody is there to ask: give --yes")
    if click.confirm(f"{question} It cannot be undone.", err=True):
        return True
    echo("nothing was erased", err=True)
    return False
