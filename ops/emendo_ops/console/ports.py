"""The option for a port; apart from the others, because its limit costs the import of the test server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from emendo_client.testing.ports import HIGHEST_PORT


def port_option(
    name: str, default: int | None = 0, note: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A port of this machine; with 0 the command takes a free one.

    Args:
        name: the option, such as `--port`.
        default: the port if the option is not given; None if the command chooses.
        note: follows in the help.
    """
    return click.option(
        name,
        type=click.IntRange(0, HIGHEST_PORT),
        default=default,
        show_default=bool(default),
        help=f"0 picks a free one{note}.",
    )
