"""Commands on jobs: jobs, dead, cancel."""

from __future__ import annotations

from collections.abc import Sequence

import click

from emendo_client import JobInfo, JobStatus, MemoryClient
from emendo_client.cli import FAILED
from emendo_client.cli.output import json_option, print_json, print_table


@click.command()
@click.option("--status", type=click.Choice([status.value for status in JobStatus]))
@click.option("--limit", type=int, default=20, show_default=True)
@json_option
def jobs(status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs."""
    with MemoryClient() as client:
        _print_jobs("jobs", client.jobs(status, limit), as_json=as_json)


@click.group(invoke_without_command=True)
@click.option("--limit", type=int, default=20, show_default=True)
@json_option
@click.pass_context
def dead(context: click.Context, limit: int, as_json: bool) -> None:
    """List dead letters: jobs that failed for good. See also `dead replay` and `dead discard`."""
    if context.invoked_subcommand is None:
        with MemoryClient() as client:
            _print_jobs("dead letters", client.dead_letters(limit), as_json=as_json)


@dead.command()
@click.argument("job_id")
def replay(job_id: str) -> None:
    """Put a dead letter back to work under its own id."""
    with MemoryClient() as client:
        click.echo(f"queued again: job {client.replay(job_id).id}")


@dead.command()
@click.argument("job_id")
def discard(job_id: str) -> None:
    """Give a dead letter up."""
    with MemoryClient() as client:
        client.discard(job_id)
    click.echo(f"discarded: job {job_id}")


@click.command()
@click.argument("job_id")
@json_option
def cancel(job_id: str, as_json: bool) -> int:
    """Cancel a job; exit code 1 when it was too late."""
    with MemoryClient() as client:
        cancelled = client.job(job_id).cancel()
    if as_json:
        print_json({"job_id": job_id, "cancelled": cancelled})
    else:
        click.echo("cancelled" if cancelled else "too late: the job is done")
    return 0 if cancelled else FAILED


def _print_jobs(title: str, found: Sequence[JobInfo], *, as_json: bool) -> None:
    if as_json:
        print_json(list(found))
        return
    rows = (
        (info.job_id, info.kind, info.status, info.attempts, f"{info.submitted_at:%m-%d %H:%M:%S}", _message(info))
        for info in found
    )
    print_table(title, ("job", "kind", "status", "attempts", "submitted", "error"), rows)


def _message(info: JobInfo) -> str | None:
    return str(info.error["message"]) if info.error else None
