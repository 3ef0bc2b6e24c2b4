"""`emendo demo`: the whole system shown, and checked, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from emendo_client.cli import FAILED
from emendo_client.cli.output import json_option, print_json
from emendo_config import ConfigurationError, Settings

_START, _STOP = 120.0, 60.0
# The demo brings its own; whatever the user's stand for must not be touched.
_NOT_INHERITED = ("EMENDO_REDIS_URL", "EMENDO_BROKER_URL", "EMENDO_CONTROL_URL")


@click.command()
@click.option(
    *("--jobs", "--updates", "updates"),
    type=click.IntRange(1, 1_000_000),
    default=2_000,
    show_default=True,
    help="Single updates of the throughput part.",
)
@click.option("--keep", is_flag=True, help="Leave the data behind, and say where.")
@json_option
def demo(updates: int, keep: bool, as_json: bool) -> int:
    """Show real jobs end to end on an embedded stack; exit code 0 only when every check held."""
    from emendo_client import MemoryClient
    from emendo_client.demo.checks import Checks
    from emendo_client.demo.report import document
    from emendo_client.demo.sample import read_sample
    from emendo_client.demo.story import tell
    from emendo_client.demo.throughput import measure
    from emendo_client.local.stack import require_components

    # With --json, standard output is the document's alone.
    stream = sys.stderr if as_json else sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 140)
    checks = Checks(console)
    require_components(Settings(redis_url="", broker_url="", control_url=""), own_redis=False)
    with _interruptible(), _directory(keep=keep) as directory:
        if keep:
            console.print(f"the data stays in {directory}", soft_wrap=True, markup=False)
        console.print("starting Redis with search, a worker, beat, Flower and the gateway …")
        with _stack(directory) as stack:
            settings = Settings(redis_url=stack["redis_url"], broker_url="", control_url="")
            space = settings.space
            console.print(f"embedder: {space.provider}, {space.model}, {space.dimensions} dimensions", markup=False)
            with MemoryClient(settings) as client:
                tell(client, stack, console, checks)
                jobs = client.jobs(limit=len(read_sample())) if as_json else []
        console.print(f"measuring {updates:,} single updates …")
        reading = measure(directory / "throughput", updates, checks)
    if as_json:
        print_json(document(space, jobs, checks, reading, directory if keep else None))
    console.print(checks.summary(), style="bold red" if checks.failed else "bold green", markup=False)
    console.print(str(reading), soft_wrap=True, highlight=False)
    return FAILED if checks.failed else 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal end the demo as Ctrl-C does, so that nothing it started outlives it.

    Only the first signal interrupts: a second one must not break off the clean-up, whose every step has its limit.
    """
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup asks to outlive the terminal
    ]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _directory(*, keep: bool) -> Iterator[Path]:
    """A fresh directory, removed at the end unless it is to be kept."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="emendo-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="emendo-demo-") as name:
        yield Path(name)


@contextmanager
def _stack(directory: Path) -> Iterator[dict[str, Any]]:
    """`emendo up` in a process of its own; its ready file's document."""
    ready, log = directory / "ready.json", directory / "up.log"
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment["EMENDO_TASK_EVENTS"] = "true"  # what Flower shows is one of the claims
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "emendo_client.cli", "up", "--dir", str(directory), "--ready-file", str(ready)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError(f"the stack did not start:\n{log.read_text(errors='replace')[-4_000:]}")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # the second signal makes it kill what is left
                process.wait()
