"""`emendo erase`: erases all that a project holds of one user."""

from __future__ import annotations

import click

from emendo_client import MemoryClient
from emendo_ops.console.confirm import confirmed
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option, timeout_option, wait_option, yes_option
from emendo_ops.console.output import echo, print_json
from emendo_ops.console.progress import follow


@click.command(epilog=examples("emendo erase --user ana"))
@click.option("--user", "user_id", required=True, help="The user's id.")
@yes_option
@wait_option
@timeout_option(3_600.0)
@json_option
def erase(user_id: str, yes: bool, wait: bool, timeout: float, as_json: bool) -> int:
    """Erase for good all memories of a user, and what jobs and dead letters hold of them."""
    with MemoryClient() as client:
        count = client.get_all(user_id, include_deleted=True, page_size=1).total
        if not confirmed(f"Erase for good all of this user, with {count} memories?", yes=yes):
            return FAILED
        job = client.erase_user(user_id)
        if not wait:
            _print({"job_id": job.id, "status": job.status().value}, as_json=as_json)
            return 0
        status = follow(job, timeout, quiet=as_json).status
        items = list(job.results())
    counts = (items[0].erased if items else None) or {}
    _print({"job_id": job.id, "status": status.value, **counts}, as_json=as_json)
    return 0 if counts and not counts["failed"] else FAILED


def _print(report: dict[str, str | int], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        echo(", ".join(f"{name}: {value}" for name, value in report.items()))
