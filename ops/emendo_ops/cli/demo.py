"""`emendo demo`: shows the whole system on this machine, and checks it."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emendo_config import Settings
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import print_json, report_console
from emendo_ops.console.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console


@click.command(epilog=examples("emendo demo", "emendo demo --jobs 500 --json"))
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
    from emendo_client.testing.given_redis import given_url
    from emendo_ops.demo.checks import Checks
    from emendo_ops.demo.report import document
    from emendo_ops.demo.sample import read_sample
    from emendo_ops.demo.story import tell
    from emendo_ops.demo.throughput import measure
    from emendo_ops.stack.requirements import own_redis_url, require_components

    # With --json, standard output is only the document.
    console = report_console(plain_width=140, stderr=as_json)
    checks = Checks(console)
    require_components(Settings(redis_url="", broker_url="", control_url=""), own_redis=bool(own_redis_url()))
    given_url()
    with _interruptible(), _directory(keep=keep) as directory:
        if keep:
            console.print(f"the data stays in {directory}", soft_wrap=True, markup=False)
        with _stack(directory, console, keep=keep) as (stack, settings):
            space = settings.space
            console.print(f"embedder: {space.provider}, {space.model}, {space.dimensions} dimensions", markup=False)
            with MemoryClient(settings) as client:
                tell(client, stack, console, checks)
                jobs = client.jobs(limit=len(read_sample())) if as_json else []
        console.print(f"measuring {updates:,} single updates …")
        with progress_bar("updates, submitted and done", quiet=as_json) as advance:
            throughput = measure(directory / "throughput", updates, checks, advance, keep=keep)
    if as_json:
        print_json(document(space, jobs, checks, throughput, directory if keep else None))
    console.print(checks.summary(), style="bold red" if checks.failed else "bold green", markup=False)
    console.print(str(throughput), soft_wrap=True, highlight=False)
    return FAILED if checks.failed else 0


@contextmanager
def _stack(directory: Path, console: Console, *, keep: bool) -> Iterator[tuple[dict[str, Any], Settings]]:
    """The running stack's ready file, and the settings of a client of it."""
    from emendo_client.testing.given_redis import GivenRedis, redis_for
    from emendo_ops.stack.process import running_stack

    redis = redis_for(directory / "redis", "demo", keep=keep)
    if not isinstance(redis, GivenRedis):
        console.print("starting Redis with search, a worker, beat, Flower and the gateway …")
        with running_stack(directory) as stack:
            yield stack, Settings(redis_url=stack["redis_url"], broker_url="", control_url="")
        return
    end = "stay there" if keep else "are removed at the end"
    console.print(
        f"no Redis is installed here: using that of EMENDO_REDIS_URL. The demo's keys begin with demo- and {end}",
        soft_wrap=True,
        markup=False,
    )
    with redis:
        console.print("starting a worker, beat, Flower and the gateway …")
        with running_stack(directory, {"EMENDO_REDIS_URL": redis.url, "EMENDO_KEY_PREFIX": redis.prefix}) as stack:
            yield stack, Settings(redis_url=redis.url, broker_url="", control_url="", key_prefix=redis.prefix)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal end the demo as Ctrl-C does, so that no process it started outlives it.

    Only the first signal interrupts. A second one must not break off the clean-up, whose steps all have time limits.
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
        # nohup makes a process outlive the terminal. A script's shell ignores SIGINT for what runs in the background.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _directory(*, keep: bool) -> Iterator[Path]:
    """A fresh directory, removed at the end unless it is kept."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="emendo-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="emendo-demo-") as name:
        yield Path(name)
