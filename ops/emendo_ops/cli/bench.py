"""`emendo bench`: measures throughput and latency on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emendo_config import Settings
from emendo_ops import extras
from emendo_ops.console.examples import examples
from emendo_ops.console.options import json_option
from emendo_ops.console.output import print_json, report_console
from emendo_ops.console.progress import progress_bar

if TYPE_CHECKING:
    from emendo_ops.bench.machine import Machine
    from emendo_ops.bench.store import Store


@click.command(epilog=examples("emendo bench --memories 500 --rounds 2", "emendo bench --running --json"))
@click.option(
    "--running",
    is_flag=True,
    help="Measure the stack that the EMENDO_ settings name, in a project of its own. Its provider is asked, and paid.",
)
@click.option(
    "--memories", type=click.IntRange(1, 1_000_000), default=2_000, show_default=True, help="Memories in the store."
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="How often each figure is measured."
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this figure; may be given several times.")
@json_option
def bench(running: bool, memories: int, rounds: int, only: tuple[str, ...], as_json: bool) -> None:
    """Measure throughput, latency and search: on an embedded stack of one worker, or on the one that runs."""
    from emendo_ops.bench.product import ROWS, measure
    from emendo_ops.bench.report import Report

    unknown = sorted(set(only) - {row.name for row in ROWS})
    if unknown:
        raise click.UsageError(f"no such figure: {', '.join(unknown)}; there are {', '.join(row.name for row in ROWS)}")
    rows = [row for row in ROWS if not only or row.name in only]
    if running:
        rows = [row for row in rows if row.name != "requests"]  # a real provider does not count them for us
    with _running(memories) if running else _embedded(memories) as (store, machine):
        with progress_bar("measurements", quiet=as_json) as advance:
            figures = measure(store, rounds, rows, advance)
        report = Report(machine, rounds, 1.0, figures)
    if as_json:
        print_json(report.document())
    else:
        report.print(report_console(plain_width=160))


@contextmanager
def _embedded(memories: int) -> Iterator[tuple[Store, Machine]]:
    extras.require("worker", "the worker")
    from emendo_ops.bench.product import fill
    from emendo_ops.bench.testbed import TestBed

    with tempfile.TemporaryDirectory(prefix="emendo-bench-") as name, TestBed(Path(name)) as bed:
        machine = bed.machine()
        with bed.store() as store:
            store.ids = fill(store.client, memories)
            yield store, machine


@contextmanager
def _running(memories: int) -> Iterator[tuple[Store, Machine]]:
    from emendo_ops.bench.machine import Machine
    from emendo_ops.bench.product import running_store

    with running_store(Settings(), memories) as store:
        yield store, Machine.of(store.data)
