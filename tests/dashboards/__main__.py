"""`python -m tests.dashboards`: draws each dashboard of ops/grafana from a real stack, into docs/img."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.dashboards.draw import Span, draw
from tests.dashboards.work import watched_stack
from tests.support.dashboard_files import DASHBOARDS, panels_of
from tests.support.prometheus import program

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "img"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of load without trouble, before and after it")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    if program() is None:
        print("prometheus is not installed here (Debian's package)", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="emendo-dashboards-") as directory,
        watched_stack(Path(directory), given.seconds, lambda part: print(part, flush=True)) as watched,
    ):
        span = Span(watched.began, time.time())
        for uid, dashboard in DASHBOARDS.items():
            if panels_of(dashboard):
                draw(dashboard, watched.prometheus, span, given.out / f"grafana-{uid.removeprefix('emendo-')}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
