"""Examples at the end of a command's help."""

from __future__ import annotations

import click

_HEAD = "Examples:"
_MARGIN = "  "


def examples(*lines: str) -> str:
    """The `epilog` of a command: lines as a person types them, which click must not fold."""
    return "\n".join(("\b", _HEAD, *(f"{_MARGIN}{line}" for line in lines)))


def examples_of(command: click.Command) -> list[str]:
    """The lines that the command's help shows."""
    mark, head, *lines = (command.epilog or "\b\n").split("\n")
    return [line.removeprefix(_MARGIN) for line in lines] if (mark, head) == ("\b", _HEAD) else []
