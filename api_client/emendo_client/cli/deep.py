"""What `emendo doctor --deep` adds: diagnoses of a sample of the memories, or of all."""

from __future__ import annotations

import random
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from emendo_client.audit import Audit, audit
from emendo_client.cli.output import print_table
from emendo_client.diagnosis import MENDS
from emendo_client.steps import plane, run
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect


def look_deep(settings: Settings, sample: int | None, *, quiet: bool) -> Audit:
    """Diagnoses `sample` memories, or all; with a progress bar on a terminal, unless quiet.

    Raises:
        VectorStoreError: there are memories and no index.
        NetworkError
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    connection = connect(settings.redis_url, settings)
    try:
        with Progress(*columns, transient=True, disable=quiet or not sys.stdout.isatty()) as progress:
            task = progress.add_task("memories", total=None)
            steps = audit(
                Keys(settings.key_prefix),
                settings,
                sample,
                lambda done, total: progress.update(task, completed=done, total=total),
                random.SystemRandom(),
            )
            return run({"data": plane(connection)}, steps)
    finally:
        connection.close()


def print_audit(found: Audit) -> None:
    """What is wrong, check by check, and the first memories it is wrong with; nothing when nothing is."""
    if not found.wrong:
        return
    print_table(
        "what is wrong",
        ("check", "memories", "mend"),
        ((check, count, MENDS[check]) for check, count in found.by_check.items()),
    )
    print_table(
        f"{len(found.damaged)} of the {found.wrong} damaged memories; emendo diagnose says more of one",
        ("id", "project", "wrong"),
        ((m.memory_id, m.project, ", ".join(finding.check for finding in m.findings)) for m in found.damaged),
    )
