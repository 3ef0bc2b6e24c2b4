"""Commands with a text of the user's as their argument, which may begin with a minus sign: `-5 degrees`."""

from __future__ import annotations

import re
from typing import Any

import click

# Options have neither white space before their `=` nor a digit or dot behind their `-`.
_TEXT = re.compile(r"-(?:[\d.,\s]|[^=]*\s)")
_MARK = "\0"  # no argument of a process can hold it


class FreeTextCommand(click.Command):
    """A command that tells a text from an option, and says how to give the texts that it cannot tell."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, with texts that begin with a minus sign among the arguments.

        Raises:
            click.NoSuchOption: with a hint for a text that begins like an option.
        """
        takes_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        before = ["", *args]
        marked = [
            f"{_MARK}{word}"
            if _TEXT.match(word) and previous not in takes_value and "--" not in before[: place + 1]
            else word
            for place, (previous, word) in enumerate(zip(before, args, strict=False))
        ]
        try:
            rest = super().parse_args(ctx, marked)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            hint = f"A text that begins with - goes last, behind --: {ctx.command_path} [OPTIONS] -- TEXT"
            raise click.NoSuchOption(error.option_name, f"{error.message} {hint}", ctx=ctx) from None
        except click.UsageError as error:  # a second text, say, which the message shows
            if _MARK not in error.message:
                raise
            raise click.UsageError(error.message.replace(_MARK, ""), ctx) from None
        ctx.params = {name: _unmarked(value) for name, value in ctx.params.items()}
        return rest


def _unmarked(value: Any) -> Any:
    return value.removeprefix(_MARK) if isinstance(value, str) else value
