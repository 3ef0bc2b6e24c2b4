"""Writes the Grafana dashboards to ops/grafana/dashboards: `python ops/grafana/generate.py`.

With `--check` it writes nothing and exits 1 when a file is stale, missing or too many. Their content stands in
`overview.py`, `details.py` and, for the runbook, docs/how-to/when-paged.md.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from details import providers, redis, stages, tenants
from overview import overview
from runbook import places_of, read_runbook, runbook

FOLDER = Path(__file__).resolve().parent / "dashboards"
PAGE = FOLDER.parents[2] / "docs" / "how-to" / "when-paged.md"


def dashboards() -> list[dict[str, Any]]:
    """All dashboards, as Grafana imports them."""
    sections = read_runbook(PAGE.read_text(encoding="utf-8"))
    places = places_of(sections)
    return [*(make(places) for make in (overview, stages, providers, redis, tenants)), runbook(sections)]


def main() -> int:
    """Writes or checks the files; returns the exit code."""
    wanted = {f"{each['uid']}.json": json.dumps(each, indent=1, ensure_ascii=False) + "\n" for each in dashboards()}
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if stale:
            sys.stderr.write(
                f"stale in ops/grafana/dashboards: {', '.join(stale)}; run: python ops/grafana/generate.py\n"
            )
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
