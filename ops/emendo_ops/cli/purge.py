"""`emendo purge`: erases memories that were deleted, or expired, before a given time."""

from __future__ import annotations

from datetime import datetime

import click

from emendo_client import Event, MemoryClient
from emendo_ops.console.confirm import confirmed
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import (
    json_option,
    timeout_option,
    wait_option,
    yes_option,
)
from emendo_ops.console.output import echo, print_json
from emendo_ops.console.progress import follow
from emendo_ops.console.time_options import time_or_age


@click.command(
    epilog=examples(
        "emendo purge --deleted-before 30d", "emendo purge --deleted-before 2026-01-31T12:00Z --yes --no-wait"
    )
)
@click.option(
    "--deleted-before", callback=time_or_age, required=True, help="An ISO time with its zone, or an age: 30d, 12h."
)
@yes_option
@wait_option
@timeout_option(3_600.0)
@json_option
def purge(deleted_before: datetime, yes: bool, wait: bool, timeout: float, as_json: bool) -> int:
    """Erase for good the memories that were deleted, or had expired, before a given time."""
    if not confirmed(f"Erase for good what was gone before {deleted_before:%Y-%m-%d %H:%M:%S} UTC?", yes=yes):
        return FAILED
    with MemoryClient() as client:
        job = client.purge(deleted_before)
        counts = {"memories": 0, "erased": 0, "failed": 0}
        if job is None:
            _print(None, None, counts, as_json=as_json)
            return 0
        if not wait:
            info = job.info()
            _print(job.id, info.status.value, {"memories": info.items}, as_json=as_json)
            return 0
        result = follow(job, timeout, quiet=as_json)
        for item in job.results():
            counts["memories"] += 1
            counts["erased"] += item.event == Event.DELETE
            counts["failed"] += item.error is not None
    _print(job.id, result.status.value, counts, as_json=as_json)
    return FAILED if counts["failed"] else 0


def _print(job_id: str | None, status: str | None, counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json({"job_id": job_id, "status": status, **counts})
    elif job_id is None:
        echo("nothing to erase")
    elif "erased" not in counts:
        echo(f"accepted: job {job_id}, {counts['memories']} memories")
    else:
        echo(f"{counts['erased']} of {counts['memories']} memories erased, {counts['failed']} failed: job {job_id}")
