"""`emendo dead`: list, show, replay and discard dead letters, the jobs that failed for good."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from emendo_client import DeadLetter, MemoryClient
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import (
    json_option,
    yes_option,
)
from emendo_ops.console.output import counted, echo, print_entries, print_json, print_table
from emendo_ops.console.progress import progress_bar
from emendo_ops.console.time_options import time_or_age

_DEFAULT = "list"


class _ListByDefault(click.Group):
    """`emendo dead` and `emendo dead --kind add` mean `emendo dead list …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, parameter, help_text in (
        ("--after", "after", "Died then or later: an ISO time with its zone, or an age: 30d, 12h."),
        ("--before", "before", "Died before then: an ISO time with its zone, or an age: 30d, 12h."),
        ("--memory", "memory_id", "Jobs on this memory."),
        ("--error", "error_code", "Jobs that failed with this error code."),
        ("--kind", "kind", "Jobs of this kind, such as update."),
    ):
        parse = time_or_age if parameter in ("after", "before") else None
        command = click.option(name, parameter, help=help_text, callback=parse)(command)
    return command


@click.group(cls=_ListByDefault, epilog=examples("emendo dead", "emendo dead replay --error PROVIDER_FAILING"))
def dead() -> None:
    """List, show, replay or discard dead letters: jobs that failed for good. Alone it lists."""


@dead.command(_DEFAULT, epilog=examples("emendo dead list --kind update --after 7d"))
@_filters
@click.option("--limit", type=int, default=20, show_default=True, help="At most this many.")
@json_option
def list_letters(limit: int, as_json: bool, **filters: Any) -> None:
    """List dead letters, newest first."""
    with MemoryClient() as client:
        found = client.dead_letters(limit, **filters)
    if as_json:
        print_json(found)
        return
    print_entries([_entry(letter) for letter in found], nothing="no dead letters")


@dead.command(epilog=examples("emendo dead show JOB_ID"))
@click.argument("job_id")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one dead letter: its error, its attempts and its payload."""
    with MemoryClient() as client:
        letter = client.dead_letter(job_id)
    if as_json:
        print_json(letter)
        return
    document = letter.model_dump(
        mode="json", exclude={"job_id", "error", "payload", "raw_payload", "results"}, exclude_none=True
    )
    print_table(f"dead letter {job_id}", ("field", "value"), document.items())
    # One line each, so that it can be copied.
    echo(f"died of: {json.dumps(letter.error, ensure_ascii=False)}")
    if letter.raw_payload:
        echo(f"cannot be read: {letter.raw_payload}")
    for operation in letter.payload or ():
        echo(f"asked for: {json.dumps(operation, ensure_ascii=False)}")


@dead.command(epilog=examples("emendo dead replay JOB_ID", "emendo dead replay --error PROVIDER_FAILING --after 12h"))
@click.argument("job_id", required=False)
@click.option("--all", "every", is_flag=True, help="Every dead letter of the project.")
@_filters
@json_option
def replay(job_id: str | None, every: bool, as_json: bool, **filters: Any) -> None:
    """Put dead letters back to work, each under its own id: one JOB_ID, --all, or those that match."""
    _require_one_choice(job_id, filters, every=every)
    with MemoryClient() as client, progress_bar("replaying", quiet=as_json) as advance:
        if job_id is not None:
            client.replay(job_id)
            count = 1
        else:
            count = client.replay_all(on_progress=lambda now: advance(now.examined, now.total), **filters)
    if as_json:
        print_json({"replayed": count})
    else:
        echo(f"queued again: {_named(job_id, count)}")


@dead.command(epilog=examples("emendo dead discard JOB_ID", "emendo dead discard --all --yes"))
@click.argument("job_id", required=False)
@click.option("--all", "every", is_flag=True, help="Every dead letter of the project.")
@_filters
@yes_option
@json_option
def discard(job_id: str | None, every: bool, yes: bool, as_json: bool, **filters: Any) -> int:
    """Give dead letters up and drop their payload: one JOB_ID, --all, or those that match."""
    _require_one_choice(job_id, filters, every=every)
    with MemoryClient() as client:
        if job_id is None and not yes and not _confirmed(client.project, every=every):
            echo("nothing was discarded", err=True)
            return FAILED
        with progress_bar("discarding", quiet=as_json) as advance:
            if job_id is not None:
                client.discard(job_id)
                count = 1
            else:
                count = client.discard_all(on_progress=lambda now: advance(now.examined, now.total), **filters)
    if as_json:
        print_json({"discarded": count})
    else:
        echo(f"discarded: {_named(job_id, count)}")
    return 0


def _entry(letter: DeadLetter) -> tuple[str, str]:
    """The dead letter's two lines in the list."""
    error = letter.error or {"code": "", "message": "not known"}
    tried = counted(letter.attempts, "attempt")
    if letter.last_attempt_at:
        tried += f", the last {letter.last_attempt_at:%m-%d %H:%M} UTC"
    return f"{letter.job_id}  {letter.kind} {error['code']}", f"{tried}; {error['message']}"


def _require_one_choice(job_id: str | None, filters: dict[str, Any], *, every: bool) -> None:
    narrowed = any(value is not None for value in filters.values())
    if (job_id is not None) + every + narrowed != 1:
        raise click.UsageError(
            "give a JOB_ID, or --all, or at least one of --kind, --error, --memory, --before, --after"
        )


def _confirmed(project: str, *, every: bool) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("discarding many dead letters cannot be undone: give --yes where nobody can be asked")
    which = "every dead letter" if every else "the dead letters that match"
    return click.confirm(f"Give up {which} of project {project!r}, and drop what they asked for?", err=True)


def _named(job_id: str | None, count: int) -> str:
    return f"job {job_id}" if job_id is not None else counted(count, "job")
