"""docs/operations.md names a scenario or a test for each failure, and alerts that exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.chaos.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| what ")
]
TESTS = {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_each_failure_was_tried_and_each_scenario_has_a_row():
    tried = [set(re.findall(r"`([\w./-]+)`", row[-1])) for row in ROWS]
    assert len(ROWS) > 20
    assert all(len(row) == 5 and all(row) for row in ROWS)
    assert all(tried)
    named = set().union(*tried)
    assert named - TESTS == set(SCENARIOS)


def test_each_alert_that_a_row_names_exists():
    rules = yaml.safe_load((ROOT / "ops" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    alerts = {rule.get("alert", "").removeprefix("Emendo") for group in rules["groups"] for rule in group["rules"]}
    seen = {word for row in ROWS for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", row[2])}
    assert len(seen) > 6
    assert seen <= alerts
