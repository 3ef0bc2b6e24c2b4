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
from emendo_config import ConfigurationError, Settings

_START, _STOP = 120.0, 60.0


@click.command()
@click.option("--updates", type=click.IntRange(1, 1_000_000), default=2_000, show_default=True)
def demo(updates: int) -> int:
    """Show real jobs end to end on an embedded stack; exit code 0 only when every check held."""
    from emendo_client import MemoryClient
    from emendo_client.demo.checks import Checks
    from emendo_client.demo.story import tell
    from emendo_client.demo.throughput import measure

    console = Console(width=None if sys.stdout.isatty() else 140)
    checks = Checks(console)
    with tempfile.TemporaryDirectory(prefix="emendo-demo-") as name:
        directory = Path(name)
        console.print("starting Redis with search, a worker, beat, Flower and the gateway …")
        with _stack(directory) as stack:
            settings = Settings(redis_url=stack["redis_url"], broker_url="", control_url="")
            space = settings.space
            console.print(f"embedder: {space.provider}, {space.model}, {space.dimensions} dimensions")
            with MemoryClient(settings) as client:
                tell(client, stack, console, checks)
        console.print(f"measuring {updates:,} single updates …")
        reading = measure(directory / "throughput", updates, checks)
    console.print(checks.summary(), style="bold red" if checks.failed else "bold green")
    console.print(str(reading), soft_wrap=True, highlight=False)
    return FAILED if checks.failed else 0


@contextmanager
def _stack(directory: Path) -> Iterator[dict[str, Any]]:
    """`emendo up` in a process of its own; its ready file's document."""
    ready, log = directory / "ready.json", directory / "up.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMENDO_REDIS_URL")}
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
