"""Commands on jobs: jobs, cancel."""

from __future__ import annotations

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
        found = client.jobs(status, limit)
    if as_json:
        print_json(found)
        return
    rows = (
        (info.job_id, info.kind, info.status, info.attempts, f"{info.submitted_at:%m-%d %H:%M:%S}", _message(info))
        for info in found
    )
    print_table("jobs", ("job", "kind", "status", "attempts", "submitted", "error"), rows)


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


def _message(info: JobInfo) -> str | None:
    return str(info.error["message"]) if info.error else None
