"""How far long work is: a bar on a terminal, lines elsewhere. And waiting for a job with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
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
# Seconds between two lines where no bar can be drawn: in a log, or on a dumb terminal.
LINE_INTERVAL = 10.0

Advance = Callable[[int, int], None]


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Advance]:
    """Shows on standard error how far the work is, and about how long the rest takes; nothing if quiet.

    Yields:
        A function that takes (done, total).
    """
    if quiet:
        yield lambda done, total: None  # noqa: ARG005  # nobody looks
        return
    console = Console(stderr=True)
    # isatty() as well: FORCE_COLOR alone must not put a bar into a file.
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield _Lines(label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Prints a line now and then; none for work that ends soon."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._began = time.monotonic()
        self._due = self._began + LINE_INTERVAL
        self._at_first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._at_first is None:  # an export that goes on begins in the middle
            self._at_first = done
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LINE_INTERVAL
        left = ""
        if done > self._at_first:
            seconds = (now - self._began) * (total - done) / (done - self._at_first)
            left = f", about {timedelta(seconds=round(seconds))} left"
        echo(f"{self._label}: {done:,} of {total:,}{left}", err=True)


@contextmanager
def interruptible(job: Job) -> Iterator[None]:
    """Lets Ctrl-C end the wait but not the job, and prints the job's id so that it can be found again."""
    try:
        yield
    except KeyboardInterrupt:
        echo(f"\njob {job.id}: goes on", err=True)  # a line of its own, after the terminal's ^C
        raise click.Abort from None


def follow(job: Job, timeout: float, *, quiet: bool) -> JobResult:
    """Waits for the job's end, without its results, and shows how far it is unless quiet.

    Args:
        timeout: seconds.

    Raises:
        JobTimeoutError: no final state in time; the job goes on.
    """
    deadline = time.monotonic() + timeout
    with interruptible(job), progress_bar("memories", quiet=quiet) as advance:
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
