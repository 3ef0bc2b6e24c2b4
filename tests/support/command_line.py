"""The `emendo` command as click knows it: all commands, and a line parsed without being run."""

from __future__ import annotations

from collections.abc import Iterator

import click

from emendo_ops.cli import app


def commands(context: click.Context | None = None) -> Iterator[click.Context]:
    """A context for each command and subcommand."""
    context = context or click.Context(app.cli, info_name="emendo")
    assert isinstance(context.command, click.Group)
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, info_name=name)
        yield inner
        if isinstance(command, click.Group):
            yield from commands(inner)


def parse(group: click.Command, arguments: list[str]) -> click.Context:
    """Parses as the command line would, subcommands too, and runs nothing; a wrong option raises UsageError."""
    context = group.make_context(group.name, list(arguments), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and context.command.invoke_without_command:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context
