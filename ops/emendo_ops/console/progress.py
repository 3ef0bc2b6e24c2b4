"""Progress bars, and waiting for a job with one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from emendo_client import Job, JobResult
from emendo_client.errors import JobTimeoutError
from emendo_client.transport.job_polling import timed_out
from emendo_ops.console.output import echo

# Seconds between two updates of the bar. The end of the job is noticed at once.
PROGRESS_INTERVAL = 0.2


@contextmanager
def progress_bar(
    label: str, *, shown: bool, stderr: bool = True, time_column: type[ProgressColumn] = TimeRemainingColumn
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, shown only on a terminal.

    Yields:
        A function that takes (done, total).
    """
    console = Console(stderr=stderr)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        time_column(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def memories_bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard output that counts memories and shows the time elapsed."""
    # isatty() as well: FORCE_COLOR alone must not put a bar into a file.
    shown = not quiet and sys.stdout.isatty()
    with progress_bar("memories", shown=shown, stderr=False, time_column=TimeElapsedColumn) as advance:
        yield advance


@contextmanager
def interruptible(job: Job) -> Iterator[None]:
    """Lets Ctrl-C end the wait but not the job, and prints the job's id so that it can be found again."""
    try:
        yield
    except KeyboardInterrupt:
        echo(f"\njob {job.id}: goes on", err=True)  # a line of its own, after the terminal's ^C
        raise click.Abort from None


def follow(job: Job, timeout: float, *, quiet: bool) -> JobResult:
    """Waits for the job's end, without its results; with a progress bar on a terminal unless quiet.

    Args:
        timeout: seconds.

    Raises:
        JobTimeoutError: no final state in time; the job goes on.
    """
    deadline = time.monotonic() + timeout
    with interruptible(job), memories_bar(quiet=quiet) as advance:
        while True:
            progress = job.progress()
            advance(progress.done, progress.total)
            left = deadline - time.monotonic()
            if left <= 0 and not (info := job.info()).status.is_final:
                raise timed_out(info, timeout)
            try:
                return job.wait(max(0.0, min(PROGRESS_INTERVAL, left)), with_results=False)
            except JobTimeoutError:
                continue
