"""The dashboards of ops/grafana, and their queries as Prometheus gets them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "ops" / "grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "dashboards").glob("*.json"))
}
# Grafana puts these in the place of a variable when all values are chosen.
ALL = {"kind": ".*", "project": ".*", "queue": ".*"}


def panels_of(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels with queries."""
    return [panel for panel in dashboard["panels"] if panel.get("targets")]


def filled(expression: str, interval: str = "1m", job: str = "emendo") -> str:
    """The query as Grafana sends it."""
    values = {"__rate_interval": interval, "job": job, **ALL}
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    return expression
