"""`make bench`: every figure beside its baseline, in the same run; `make bench-peers`: beside mem0."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from redis.exceptions import RedisError
from rich.console import Console

from emendo_client.errors import EmendoError
from emendo_ops.bench.figure import Figure, Row, figure
from emendo_ops.bench.report import Report
from emendo_ops.bench.testbed import TestBed
from tests.bench import capacity, gateway, latency, promises, reembedding, throughput
from tests.bench.plan import Plan
from tests.bench.rows import ROWS, chosen

EXPERIMENTS = {
    "singles": throughput.singles,
    "batch": throughput.batch,
    "metadata": throughput.metadata,
    "reembed": reembedding.reembed,
    "enqueue": latency.enqueue,
    "gateway": gateway.gateway,
    "visible": latency.visible,
    "search": latency.search,
    "hybrid": latency.hybrid,
    "size": capacity.size,
    "bytes": capacity.weight,
    "resident": capacity.resident,
    **promises.EXPERIMENTS,
}

# Failures of one experiment: the product, a baseline's process, Redis, the provider, a check.
FAILURES = (EmendoError, RedisError, subprocess.SubprocessError, RuntimeError, AssertionError, OSError)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=[row.name for row in ROWS], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of every size; figures count at 1 only")
    parser.add_argument("--json", type=Path, help="write the report there as well")
    parser.add_argument("--peers", type=Path, help="the peers' Python; measures the rows that need it")
    parser.add_argument(
        "--in-flight", type=int, default=0, help="of the bare script; default: what the product can have"
    )
    parser.add_argument("--plots", type=Path, help="also draw throughput and latency over size and concurrency there")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a reach was missed")
    given = parser.parse_args()
    if given.rounds < 1 or given.scale <= 0:
        parser.error("--rounds and --scale are above 0")
    if given.plots:
        from tests.bench import plots

        plots.require_matplotlib()
    rows = chosen(given.only, with_peers=given.peers is not None)
    with tempfile.TemporaryDirectory(prefix="emendo-bench-") as directory, TestBed(Path(directory)) as bed:
        machine = bed.machine()
        plan = Plan(bed, given.rounds, given.scale, peer_python=given.peers, in_flight=given.in_flight)
        report = Report(machine, given.rounds, given.scale, measure(rows, plan))
        document = report.document()
        if given.plots:
            from tests.bench import curves

            document["curves"] = curves.take(plan)
            plots.draw(document["curves"], given.plots)
    report.print(Console(width=None if sys.stdout.isatty() else 180))
    if given.json:
        given.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0 if report.complete and not (given.strict and report.missed) else 1


def measure(rows: list[Row], plan: Plan) -> list[Figure]:
    """The figures, one experiment after the other; a failed one is reported in its rows and stops no other."""
    figures: dict[str, Figure] = {}
    for experiment in dict.fromkeys(row.experiment for row in rows):
        mine = [row for row in rows if row.experiment == experiment]
        contenders = frozenset().union(*(row.contenders for row in mine))
        print(f"measuring {', '.join(row.name for row in mine)} …", file=sys.stderr, flush=True)
        try:
            samples = EXPERIMENTS[experiment](replace(plan, contenders=contenders))
        except FAILURES as failure:
            problem = f"{type(failure).__name__}: {failure}"
            figures |= {row.name: Figure(row, problem=problem) for row in mine}
        else:
            figures |= {row.name: figure(row, samples, samples.notes_for(row.contenders)) for row in mine}
    return [figures[row.name] for row in rows]


if __name__ == "__main__":
    sys.exit(main())
