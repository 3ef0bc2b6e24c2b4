"""docs/guarantees.md gives each promise a limit and a proof, and every test and scenario that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("\n## Promises\n")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| subject ", "| --- "))
]


def test_each_promise_has_a_limit_and_a_proof():
    assert len(ROWS) >= 20
    assert all(len(row) == 4 and all(row) for row in ROWS)
    subjects = " ".join(row[0] for row in ROWS)
    for word in ("accepted", "effect", "order", "strong", "failover", "erasure", "full", "fairness", "mixed"):
        assert word in subjects


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_proves_a_promise_is_there(row):
    named = re.findall(r"`([^`]+)`", row[-1])
    assert named
    for name in named:
        path, _, test = name.partition("::")
        if "/" not in path:
            assert name in SCENARIOS
            continue
        source = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert re.search(rf"def {re.escape(test)}\(" if test else r"def test_", source), f"{test} is not in {path}"


def test_what_a_failover_may_lose_is_said_as_in_the_design():
    design = " ".join((ROOT / "docs" / "design.md").read_text(encoding="utf-8").split())
    for said in (PAGE, design):
        assert "those of the replication lag, usually less than one second" in said


def test_scenarios_that_are_about_promises_have_a_row():
    proofs = " ".join(row[-1] for row in ROWS)
    about_providers = {"provider-failing", "slow-provider"}
    about_outages = {"broker-unreachable", "redis-unreachable"}
    assert {name for name in SCENARIOS if f"`{name}`" not in proofs} == about_providers | about_outages
