"""`emendo jobs`, `emendo jobs show` and `emendo cancel`."""

from __future__ import annotations

import json

import click

from emendo_client import ItemResult, JobInfo, JobStatus, MemoryClient
from emendo_client.transport.job_polling import in_words
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.group import stands_alone
from emendo_ops.console.options import json_option
from emendo_ops.console.output import counted, echo, print_entries, print_json, print_table

# Counts of batch jobs only. For another job they are 0, which would read as "nothing is done".
_BATCH_FIELDS = {"chunks", "done"}


@click.group(invoke_without_command=True, epilog=examples("emendo jobs", "emendo jobs --status failed --limit 5"))
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only jobs in this state.")
@click.option("--limit", type=int, default=20, show_default=True, help="At most this many.")
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


@jobs.command(epilog=examples("emendo jobs show JOB_ID"))
@click.argument("job_id")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one job: its state, attempts, times, error, and the outcome of each memory."""
    with MemoryClient() as client:
        info = client.job(job_id).info()
    if as_json:
        print_json(info)
        return
    left_out = {"job_id", "error", "results"} | (set() if info.chunks else _BATCH_FIELDS)
    document = info.model_dump(mode="json", exclude=left_out, exclude_none=True)
    print_table(f"job {job_id}", ("field", "value"), document.items())
    # One line each, so that it can be copied.
    if info.error:
        echo(f"error: {json.dumps(info.error, ensure_ascii=False)}")
    for item in info.results:
        echo(f"memory {item.memory_id}: {_outcome(item)}")
    if info.chunks:
        echo(f"what became of each memory: emendo jobs show {job_id}:0, and so on for each chunk")


@click.command(epilog=examples("emendo cancel JOB_ID"))
@click.argument("job_id")
@json_option
def cancel(job_id: str, as_json: bool) -> int:
    """Cancel a job; exit code 1 when it was too late."""
    with MemoryClient() as client:
        cancelled = client.job(job_id).cancel()
    if as_json:
        print_json({"job_id": job_id, "cancelled": cancelled})
    else:
        echo("cancelled" if cancelled else "too late: the job is done")
    return 0 if cancelled else FAILED


def _entry(info: JobInfo) -> tuple[str, str]:
    """The job's two lines in the list."""
    error = f"; {in_words(info.error)}" if info.error else ""
    tried = f"{counted(info.attempts, 'attempt')}, submitted {info.submitted_at:%m-%d %H:%M} UTC"
    return f"{info.job_id}  {info.kind} {info.status}", f"{tried}{error}"


def _outcome(item: ItemResult) -> str:
    """One memory's outcome, without its text."""
    if item.error:
        return in_words(item.error)
    became = [f"{item.event}, version {item.version}"] if item.event else []
    if item.conflict_id is not None:
        became.append(f"waits for a person: emendo conflicts show {item.conflict_id}")
    if not became:  # also after a dry run
        became.append(f"decided {item.decision}, changed nothing" if item.decision else "nothing to do")
    return "; ".join(became)
