"""Asking before what cannot be undone."""

from __future__ import annotations

import sys

import click

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirmed(question: str, *, yes: bool) -> bool:
    """True when `--yes` was given, or the person at the terminal says so.

    Raises:
        click.UsageError: nobody is there to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone, and nobody is there to ask: give --yes")
    if click.confirm(f"{question} It cannot be undone.", err=True):
        return True
    click.echo("nothing was erased", err=True)
    return False
