"""`emendo reembed`: moves the store to another embedding space while it is in use, and controls the move."""

from __future__ import annotations

from typing import Any

import click

from emendo_client import Job, MemoryClient, Migration, ReembedPlan
from emendo_client.errors import JobTimeoutError
from emendo_client.exchanges.reembedding.selection import FLAWS, SCOPE
from emendo_client.exchanges.reembedding.target_space import ALGORITHMS, DATATYPES, METRICS, PROVIDERS
from emendo_client.models import JobStatus
from emendo_ops.console.confirm import confirmed
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.group import stands_alone
from emendo_ops.console.options import (
    json_option,
    timeout_option,
    wait_option,
    yes_option,
)
from emendo_ops.console.output import echo, print_json, print_table
from emendo_ops.console.progress import follow

_TIMEOUT = 86_400.0  # seconds


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "emendo reembed --model text-embedding-3-large --dimensions 1024 --dry-run", "emendo reembed --only missing"
    ),
)
@click.option("--model", help="The new space's model. Options left out keep their present value.")
@click.option("--dimensions", type=int, help="The number of elements of a vector.")
@click.option("--provider", type=click.Choice(PROVIDERS), help="The new space's embedder.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="Of the index; vectors are copied.")
@click.option("--metric", type=click.Choice(METRICS), help="Of the index; vectors are copied.")
@click.option("--datatype", type=click.Choice(DATATYPES), help="Of the index; vectors are converted.")
@click.option(
    "--only", "filters", multiple=True, help=f"Re-embed only a part: {', '.join(FLAWS)}, or {SCOPE[1]}=… and the like."
)
@click.option("--allow-missing", is_flag=True, help="Switch even if some memories could not be embedded.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show the estimate.")
@wait_option
@timeout_option(_TIMEOUT)
@json_option
@click.pass_context
def reembed(
    context: click.Context,
    /,
    *,
    filters: tuple[str, ...],
    dry_run: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
    **wanted: Any,
) -> int:
    """Re-embed the whole store, all projects, while searches and writes go on.

    Without options: into the space that the settings name.
    """
    if not stands_alone(context):
        return 0
    with MemoryClient() as client:
        chosen = {**wanted, "filters": _filters(filters) if filters else None}
        if dry_run:
            _print_plan(client.reembed(**chosen, dry_run=True), as_json=as_json)
            return 0
        return _report(client, client.reembed(**chosen), wait=wait, timeout=timeout, as_json=as_json)


@reembed.command(epilog=examples("emendo reembed status"))
@json_option
def status(as_json: bool) -> int:
    """Show the progress of the latest re-embedding."""
    with MemoryClient() as client:
        _print_migration(client.migration(), as_json=as_json)
    return 0


@reembed.command(epilog=examples("emendo reembed pause"))
def pause() -> int:
    """Pause it; writes still keep both spaces."""
    with MemoryClient() as client:
        client.pause_reembed()
    echo("paused")
    return 0


@reembed.command(epilog=examples("emendo reembed resume --allow-missing"))
@click.option("--allow-missing", is_flag=True, help="Switch even if some memories could not be embedded.")
def resume(allow_missing: bool) -> int:
    """Continue after a pause or a failure."""
    with MemoryClient() as client:
        client.resume_reembed(allow_missing=allow_missing)
    echo("it goes on")
    return 0


@reembed.command(epilog=examples("emendo reembed rollback"))
@wait_option
@timeout_option(_TIMEOUT)
@json_option
def rollback(*, wait: bool, timeout: float, as_json: bool) -> int:
    """Go back to the old space, and remove the new one."""
    with MemoryClient() as client:
        return _report(client, client.rollback_reembed(), wait=wait, timeout=timeout, as_json=as_json)


@reembed.command(epilog=examples("emendo reembed finalize --yes"))
@yes_option
@wait_option
@timeout_option(_TIMEOUT)
@json_option
def finalize(*, yes: bool, wait: bool, timeout: float, as_json: bool) -> int:
    """Remove the old space now: there is no way back afterwards."""
    if not confirmed("Remove the old embedding space?", yes=yes):
        return FAILED
    with MemoryClient() as client:
        return _report(client, client.finalize_reembed(), wait=wait, timeout=timeout, as_json=as_json)


def _filters(given: tuple[str, ...]) -> dict[str, Any]:
    """`missing` and `user_id=ana` as the mapping that `reembed` takes. `reembed` itself refuses unknown names."""
    pairs = (each.partition("=") for each in given)
    return {name: value if equals else True for name, equals, value in pairs}


def _report(client: MemoryClient, job: Job, *, wait: bool, timeout: float, as_json: bool) -> int:
    if not wait:
        if as_json:
            print_json({"job_id": job.id, "status": job.status().value})
        else:
            echo(f"accepted: job {job.id}; emendo reembed status shows how far it is")
        return 0
    try:
        result = follow(job, timeout, quiet=as_json)
    except JobTimeoutError:
        _print_migration(client.migration(), as_json=as_json)
        raise
    _print_migration(client.migration(), as_json=as_json)
    if result.error and not as_json:
        echo(f"Error: {result.error['message']} ({result.error.get('suggestion', '')})", err=True)
    return 0 if result.status is JobStatus.SUCCEEDED else FAILED


def _print_plan(plan: ReembedPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    rows = {
        "from": plan.source,
        "to": plan.target,
        "memories": f"{plan.memories:,}",
        "tokens, about": f"{plan.tokens:,}",
        "requests": f"{plan.requests:,}",
        "at the limits": "no limit is set" if plan.seconds is None else f"{plan.seconds:,.0f} s",
        "cost": "EMENDO_EMBEDDING_PRICE is not set" if plan.cost is None else f"{plan.cost:,.2f}",
        "more memory, about": f"{plan.memory_bytes / 2**20:,.1f} MiB",
    }
    print_table("what it would take", ("what", "how much"), rows.items())


def _print_migration(migration: Migration | None, *, as_json: bool) -> None:
    if as_json:
        print_json(migration)
    elif migration is None:
        echo("there was no re-embedding lately")
    else:
        rows = {
            "job": migration.job_id,
            "phase": f"{migration.phase}{', paused' if migration.paused else ''}",
            "from": migration.source,
            "to": migration.target,
            "memories": f"{migration.done:,} of {migration.total:,}, {migration.failed:,} failed",
            "rate": "" if migration.rate is None else f"{migration.rate:,.0f} a second",
            "left": "" if migration.eta is None else f"{migration.eta:,.0f} s",
            "recall@10": "" if migration.recall is None else f"{migration.recall:.3f}",
            "old space goes at": "" if migration.drops_at is None else f"{migration.drops_at:%Y-%m-%d %H:%M:%S} UTC",
        }
        print_table("re-embedding", ("what", "how"), ((what, how) for what, how in rows.items() if how))
        if migration.failures:
            print_table("failed", ("memory", "error"), migration.failures.items())
