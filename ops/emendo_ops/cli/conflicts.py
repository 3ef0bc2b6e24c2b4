"""`emendo conflicts`: list, show and resolve the submissions that wait for a person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from emendo_client import Conflict, Event, MemoryClient
from emendo_ops.console.examples import examples
from emendo_ops.console.group import stands_alone
from emendo_ops.console.job_report import report
from emendo_ops.console.options import json_option, metadata_option, write_options
from emendo_ops.console.output import echo, print_json, print_table


@click.group(invoke_without_command=True, epilog=examples("emendo conflicts --limit 50"))
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="At most this many.")
@json_option
@click.pass_context
def conflicts(context: click.Context, limit: int, as_json: bool) -> None:
    """List submissions that wait for a person, newest first. See also `conflicts show` and `conflicts resolve`."""
    if not stands_alone(context):
        return
    with MemoryClient() as client:
        found = client.conflicts(limit)
    if as_json:
        print_json(found)
        return
    echo(f"{len(found)} waiting")
    for conflict in found:  # no table, which could break an id over two lines
        echo(f"{conflict.id}\n  {_summary(conflict)}")


@conflicts.command(epilog=examples("emendo conflicts show CONFLICT_ID"))
@click.argument("conflict_id")
@json_option
def show(conflict_id: str, as_json: bool) -> None:
    """Show a conflict: its base, the memory (theirs), the waiting change (ours), and the reason of a delete."""
    with MemoryClient() as client:
        conflict = client.conflict(conflict_id)
    if as_json:
        print_json(conflict)
        return
    echo(f"{conflict.id}\n  {_summary(conflict)}")
    columns = ("field", "base", f"theirs: version {conflict.current_version}", "ours: waits")
    print_table("in dispute", columns, _rows(conflict))
    for name, value in (("because", conflict.reason), ("said", conflict.source), ("prompt", conflict.prompt_version)):
        if value is not None:
            echo(f"{name}: {' '.join(value.splitlines())}")


@conflicts.command(
    epilog=examples(
        "emendo conflicts resolve CONFLICT_ID --ours --actor carla",
        'emendo conflicts resolve CONFLICT_ID --text "Ana lives in Lisbon."',
    )
)
@click.argument("conflict_id")
@click.option("--ours", "choice", flag_value="ours", type=str, help="Apply what waits.")
@click.option("--theirs", "choice", flag_value="theirs", type=str, help="Leave the memory as it is.")
@click.option("--text", help="Set this text instead of either.")
@metadata_option
@click.option("--actor", "actor_id", help="The person who decides.")
@click.option("--expected-version", type=int, help="Fail unless the memory still has this version.")
@write_options
@json_option
def resolve(  # noqa: PLR0917  # click passes every option
    conflict_id: str,
    choice: str | None,
    text: str | None,
    metadata: dict[str, Any] | None,
    actor_id: str | None,
    expected_version: int | None,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Decide a conflict: --ours, --theirs, or --text and --metadata with what the memory shall say.

    A delete that waits is carried out with --ours and given up with --theirs.
    """
    given = text is not None or metadata is not None
    if given == (choice is not None):
        raise click.UsageError("give one of --ours and --theirs, or else --text, --metadata or both")
    with MemoryClient() as client:
        job = client.resolve_conflict(
            conflict_id,
            choice or "merged",
            text=text,
            metadata=metadata,
            actor_id=actor_id,
            expected_version=expected_version,
        )
        return report(job, wait=wait, timeout=timeout, as_json=as_json)


def _summary(conflict: Conflict) -> str:
    by = f" by {conflict.actor_id}" if conflict.actor_id else ""
    if conflict.proposal is Event.DELETE:
        return f"proposed {conflict.submitted_at:%Y-%m-%d %H:%M:%S} UTC{by}: DELETE"
    disputed = ["text"] if conflict.ours is not None else []
    disputed += [f"metadata {json.dumps(key, ensure_ascii=False)}" for key in conflict.our_metadata]
    return f"submitted {conflict.submitted_at:%Y-%m-%d %H:%M:%S} UTC{by}; in dispute: {', '.join(disputed)}"


def _rows(conflict: Conflict) -> list[Sequence[str | None]]:
    if conflict.proposal is Event.DELETE:
        return [("text", conflict.base, conflict.theirs, "DELETE")]
    rows: list[Sequence[str | None]] = (
        [("text", conflict.base, conflict.theirs, conflict.ours)] if conflict.ours is not None else []
    )
    sides = (conflict.base_metadata, conflict.their_metadata, conflict.our_metadata)
    for key in conflict.our_metadata:
        base, theirs, ours = (json.dumps(side.get(key), ensure_ascii=False) for side in sides)
        rows.append((f"metadata {json.dumps(key, ensure_ascii=False)}", base, theirs, ours))
    return rows
