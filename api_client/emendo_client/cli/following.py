"""Waiting for a job: a long one with a progress bar, each until somebody has enough of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from emendo_client import Job, JobResult
from emendo_client.errors import JobTimeoutError
from emendo_client.waiting import timed_out

# Seconds between two looks at how far the job is; its end is seen at once.
LOOK = 0.2


@contextmanager
def interruptible(job: Job) -> Iterator[None]:
    """Lets Ctrl-C end the wait, not the job, and names the job, which could not be found again otherwise."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\njob {job.id}: goes on", err=True)  # a line of its own, after the terminal's ^C
        raise click.Abort from None


def follow(job: Job, timeout: float, *, quiet: bool) -> JobResult:
    """Waits for the job's end, without its results; with a progress bar on a terminal, unless quiet.

    Args:
        timeout: seconds.

    Raises:
        JobTimeoutError: no final state in time; the job goes on.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + timeout
    with interruptible(job), Progress(*columns, transient=True, disable=quiet or not sys.stdout.isatty()) as bar:
        task = bar.add_task("memories", total=None)
        while True:
            far = job.progress()
            bar.update(task, completed=far.done, total=far.total)
            left = deadline - time.monotonic()
            if left <= 0 and not (info := job.info()).status.is_final:
                raise timed_out(info, timeout)
            try:
                return job.wait(max(0.0, min(LOOK, left)), with_results=False)
            except JobTimeoutError:
                continue
