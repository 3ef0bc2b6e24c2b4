"""`emendo doctor`: checks settings, servers and stored data, and names the remedy for each problem."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial

import click
from redis.exceptions import RedisError

from emendo_client.exchanges.diagnosis.audit import Audit
from emendo_client.exchanges.diagnosis.models import REMEDIES
from emendo_client.exchanges.redis_errors import translate
from emendo_config import Settings
from emendo_config.store.connections import connect
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_json, print_table
from emendo_ops.console.progress import progress_bar
from emendo_ops.doctor.deep import check_memories
from emendo_ops.doctor.examination import examine
from emendo_ops.doctor.provider_answers import check_chat_context
from emendo_ops.doctor.spaces import repair_indexes
from emendo_ops.extras import require

DEEP_SAMPLE = 1_000
# Seconds that --repair waits for Redis to fill an index.
REPAIR_SECONDS = 600.0


@click.command(epilog=examples("emendo doctor", "emendo doctor --deep --sample 5000"))
@click.option("--deep", is_flag=True, help="Also fill the chat model's context, and diagnose memories of all projects.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    help=f"With --deep: this many memories, drawn at random.  [default: {DEEP_SAMPLE}]",
)
@click.option("--all", "everything", is_flag=True, help="With --deep: every memory.")
@click.option("--repair", is_flag=True, help="First repair: indexes, and what the two planes say of each other.")
@json_option
def doctor(deep: bool, sample: int | None, everything: bool, repair: bool, as_json: bool) -> int:
    """Look at settings, Redis, index, broker, workers and backlog; with --deep at the memories, too."""
    if (sample is not None or everything) and not deep:
        raise click.UsageError("--sample and --all go with --deep")
    if sample is not None and everything:
        raise click.UsageError("give --sample or --all, not both")
    if repair:
        _repair(quiet=as_json)
    findings = list(examine())
    audit: Audit | None = None
    if deep:
        if not any(each.check == "settings" and each.state == "fail" for each in findings):
            findings += check_chat_context(Settings(), findings)
        with progress_bar("memories", quiet=as_json) as advance:
            finding, audit = check_memories(findings, None if everything else sample or DEEP_SAMPLE, advance)
        findings.append(finding)
    if as_json:
        plain = [asdict(finding) for finding in findings]
        print_json({"findings": plain, "memories": audit and audit.model_dump(mode="json")} if deep else plain)
    else:
        print_table(
            "emendo doctor",
            ("check", "state", "found", "mend"),
            ((f.check, f.state, f.found, f.mend) for f in findings),
        )
        if audit is not None:
            _print_damage(audit)
    return FAILED if any(finding.state == "fail" for finding in findings) else 0


def _repair(*, quiet: bool) -> None:
    """Replaces open indexes, makes the planes agree, and says so; what else is wrong, the findings say."""
    require("worker", "the part that makes indexes")
    from emendo_ops.doctor.planes import reconcile

    settings = Settings()
    try:
        with (
            connect(settings.redis_url, settings) as connection,
            progress_bar("hundredths of the index", quiet=quiet) as advance,
        ):
            is_done = repair_indexes(connection, settings, time.monotonic() + REPAIR_SECONDS, advance)
        for line in reconcile(settings, partial(progress_bar, quiet=quiet)).lines():
            echo(line, err=True)
    except RedisError as error:
        echo(f"not repaired: {translate(error)}", err=True)
        return
    if not is_done:
        echo("Redis still fills the new index; a worker goes on, or run this again", err=True)


def _print_damage(found: Audit) -> None:
    """Prints the damage check by check, and the first damaged memories; nothing if there is none."""
    if not found.wrong:
        return
    print_table(
        "what is wrong",
        ("check", "memories", "mend"),
        ((check, count, REMEDIES[check]) for check, count in found.by_check.items()),
    )
    print_table(
        f"{len(found.damaged)} of the {found.wrong} damaged memories; emendo diagnose says more of one",
        ("id", "project", "wrong"),
        ((m.memory_id, m.project, ", ".join(finding.check for finding in m.findings)) for m in found.damaged),
    )
