"""Commands on jobs: jobs, jobs show, cancel."""

from __future__ import annotations

import json

import click

from emendo_client import ItemResult, JobInfo, JobStatus, MemoryClient
from emendo_client.cli import FAILED
from emendo_client.cli.groups import stands_alone
from emendo_client.cli.output import counted, json_option, print_entries, print_json, print_table
from emendo_client.waiting import in_words

# What is counted of batch jobs alone; of another it would say that nothing is done.
_OF_BATCHES = {"chunks", "done"}


@click.group(invoke_without_command=True)
@click.option("--status", type=click.Choice([status.value for status in JobStatus]))
@click.option("--limit", type=int, default=20, show_default=True)
@json_option
@click.pass_context
def jobs(context: click.Context, status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs. See also `jobs show`."""
    if not stands_alone(context):
        return
    with MemoryClient() as client:
        found = client.jobs(status, limit)
    if as_json:
        print_json(found)
        return
    print_entries([_entry(info) for info in found], nothing="no jobs")


@jobs.command()
@click.argument("job_id")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one job: where it stands, its attempts, times and error, and what became of each memory."""
    with MemoryClient() as client:
        info = client.job(job_id).info()
    if as_json:
        print_json(info)
        return
    left_out = {"job_id", "error", "results"} | (set() if info.chunks else _OF_BATCHES)
    document = info.model_dump(mode="json", exclude=left_out, exclude_none=True)
    print_table(f"job {job_id}", ("field", "value"), document.items())
    # Unwrapped, so that it can be copied.
    if info.error:
        click.echo(f"error: {json.dumps(info.error, ensure_ascii=False)}")
    for item in info.results:
        click.echo(f"memory {item.memory_id}: {_outcome(item)}")
    if info.chunks:
        click.echo(f"what became of each memory: emendo jobs show {job_id}:0, and so on for each chunk")


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


def _entry(info: JobInfo) -> tuple[str, str]:
    """Its two lines in the list."""
    error = f"; {in_words(info.error)}" if info.error else ""
    tried = f"{counted(info.attempts, 'attempt')}, submitted {info.submitted_at:%m-%d %H:%M} UTC"
    return f"{info.job_id}  {info.kind} {info.status}", f"{tried}{error}"


def _outcome(item: ItemResult) -> str:
    """What became of a memory, without its text."""
    if item.error:
        return in_words(item.error)
    became = [f"{item.event}, version {item.version}"] if item.event else []
    if item.conflict_id is not None:
        became.append(f"waits for a person: emendo conflicts show {item.conflict_id}")
    if not became:  # of a dry run, too
        became.append(f"decided {item.decision}, changed nothing" if item.decision else "nothing to do")
    return "; ".join(became)
