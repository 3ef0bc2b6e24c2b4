"""`make chaos`: every scenario in full, and a table whose last four columns must be zero."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--only", choices=list(SCENARIOS), action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of jobs")
    given = parser.parse_args()
    table = Table(title=f"chaos, seed {given.seed}", title_justify="left")
    for column in ("scenario", "jobs", "faults", "lost", "duplicated", "gaps", "wrong", "seed", "notes"):
        table.add_column(column)
    clean = True
    for name in given.only or SCENARIOS:
        scenario, jobs, _ = SCENARIOS[name]
        with tempfile.TemporaryDirectory(prefix="emendo-chaos-") as directory:
            report = scenario(Path(directory), given.seed, max(1, int(jobs * given.scale)))
        print(report.row(), flush=True)
        clean = clean and report.clean
        table.add_row(*report.row())
    Console(width=160).print(table)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
