"""Options that several commands have."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def _json_object(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        document = json.loads(value)
    except ValueError:
        raise click.BadParameter("it is not JSON") from None
    if not isinstance(document, dict):
        raise click.BadParameter("it is not a JSON object")
    return document


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
metadata_option = click.option("--metadata", callback=_json_object, help="A JSON object.")
wait_option = click.option("--wait/--no-wait", default=True, help="Wait for the job to end.")


def folder_option(default: str, explained: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--dir, a folder of the process."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        help=explained,
    )


def _seconds(_: click.Context, __: click.Parameter, value: float) -> float:
    """Checked before a job is accepted: a wait that cannot begin should leave nothing behind."""
    if not 0 <= value < math.inf:
        raise click.BadParameter(f"{value:g} is no number of seconds from 0")
    return value


def timeout_option(default: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--timeout, in seconds."""
    return click.option(
        "--timeout", type=float, default=default, show_default=True, callback=_seconds, help="Seconds to wait."
    )


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--user, --agent and --run."""
    for name, parameter in (("run", "run_id"), ("agent", "agent_id"), ("user", "user_id")):
        command = click.option(f"--{name}", parameter, help=f"The {parameter}.")(command)
    return command


def require_scope(user_id: str | None, agent_id: str | None, run_id: str | None, otherwise: str = "") -> None:
    """Checks that at least one of `scope_options` is given.

    Args:
        otherwise: another option that would do, and its effect.

    Raises:
        click.UsageError: none is given.
    """
    if (user_id, agent_id, run_id) == (None, None, None):
        also = f", or {otherwise}" if otherwise else ""
        raise click.UsageError(f"whose memories? Give --user, --agent or --run with an id{also}")


def write_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--wait/--no-wait and --timeout of a single job."""
    return wait_option(timeout_option(30.0)(command))
