"""`make chaos`: every scenario in full, and a table. Its last four columns must be zero."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.mixed_releases import NoSuchReleaseError
from tests.chaos.scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", choices=list(SCENARIOS), action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of jobs")
    given = parser.parse_args()
    logging.getLogger("emendo_client").setLevel(logging.ERROR)  # that the broker is away is no news here
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    table = Table(title=f"chaos, seed {given.seed}", title_justify="left")
    for column in ("scenario", "jobs", "faults injected", "lost", "duplicated", "gaps", "wrong final states"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    clean = True
    for name in given.only or SCENARIOS:
        scenario, jobs, _ = SCENARIOS[name]
        with tempfile.TemporaryDirectory(prefix="emendo-chaos-") as directory:
            try:
                report = scenario(Path(directory), given.seed, max(1, int(jobs * given.scale)))
            except NoSuchReleaseError as missing:
                print(f"{name} is left out: {missing}", flush=True)
                continue
        print(*report.row(), flush=True)
        for note in report.notes:
            print(f"  {note}")
        if not report.clean:
            print(f"  again: .venv/bin/python -m tests.chaos --only {name} --seed {given.seed} --scale {given.scale:g}")
        clean = clean and report.clean
        table.add_row(*report.row())
    Console(width=120).print(table)
    return 0 if clean else 1


def _stop(number: int, _: object) -> None:
    """Unwinds, which ends every process that was started; a second signal must not come in between."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
