"""Commands that do something by themselves and have subcommands as well."""

from __future__ import annotations

import click
from click.core import ParameterSource


def stands_alone(context: click.Context) -> bool:
    """True if no subcommand follows, so the command itself must run.

    Raises:
        click.UsageError: options stand before a subcommand, which would not see them.
    """
    if context.invoked_subcommand is None:
        return True
    given = [
        "/".join((parameter.opts[0], *parameter.secondary_opts[:1]))
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        subcommand = f"{context.command_path} {context.invoked_subcommand}"
        raise click.UsageError(
            f"{', '.join(given)} cannot stand before a subcommand; {subcommand} --help shows what can follow it"
        )
    return False
