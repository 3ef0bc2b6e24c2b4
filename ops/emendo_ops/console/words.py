"""The library speaks of Python calls; this says the same for the command line."""

from __future__ import annotations

import re
from typing import Any

from emendo_client.errors import EmendoError

_CALLS = (
    ("restore(memory_id) brings", "emendo restore brings"),
    ("history(memory_id) lists", "emendo history lists"),
    ("conflicts() lists", "emendo conflicts lists"),
    ("client.replay(job_id) tries", "emendo dead replay tries"),
    ("cancel(job_id)", "emendo cancel"),
    ("migration()", "emendo reembed status"),
    ("finalize_reembed()", "emendo reembed finalize"),
    ("rollback_reembed()", "emendo reembed rollback"),
    ("resume_reembed()", "emendo reembed resume"),
    ("reembed()", "emendo reembed"),
    ("give text, metadata or both", "give --text, --metadata or both"),
    ("strip it, or give None for no scope", "strip it, or leave the option out"),
    ("None begins at the first page", "leave it out for the first page"),
    ("setting them to None", "setting them to null"),
    (" or None", ""),
)
# Names of parameters at the beginning of a message, as the command line has them.
_PARAMETER = re.compile(
    r"(user|agent|run|actor)_id\b|(memory|job|conflict)_id\b|(expected_version|version|limit|timeout|threshold|cursor|dimensions|filters)\b"
)


def for_the_command_line(text: str) -> str:
    """A message or suggestion of the library with the commands and options that a person types."""
    for call, command in _CALLS:
        text = text.replace(call, command)
    return _PARAMETER.sub(_option, text, count=1) if _PARAMETER.match(text) else text


def error_for_the_command_line(error: EmendoError) -> str:
    """The error in one line: its message, and its suggestion in brackets."""
    message = for_the_command_line(error.message)
    return f"{message} ({for_the_command_line(error.suggestion)})" if error.suggestion else message


def error_in_a_result(error: dict[str, Any] | None) -> str | None:
    """The message of an error that a job's result holds."""
    return for_the_command_line(error["message"]) if error else None


def _option(found: re.Match[str]) -> str:
    scope, argument, option = found.groups()
    if argument:
        return f"{argument.upper()}_ID"
    return f"--{scope or option.replace('_', '-').removesuffix('s')}"
