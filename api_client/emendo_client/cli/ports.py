"""The options that say where a process listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from emendo_client.local.ports import HIGHEST_PORT


def port_option(name: str, default: int = 0, note: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A port of this machine; with 0 the command takes a free one.

    Args:
        name: `--port`, say.
        default: used when it is not given.
        note: follows in the help.
    """
    return click.option(
        name,
        type=click.IntRange(0, HIGHEST_PORT),
        default=default,
        show_default=bool(default),
        help=f"0 picks a free one{note}.",
    )
