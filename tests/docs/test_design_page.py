"""docs/design.md names the test of each guarantee, and each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = set(
    re.findall(r'^    "([a-z-]+)": \(', (ROOT / "tests/chaos/scenarios.py").read_text("utf-8"), re.MULTILINE)
)
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]*(?:`tests/|chaos)[^|]*) \|$", PAGE, re.MULTILINE)


def test_the_table_is_found_and_holds_the_guarantees():
    assert len(ROWS) >= 15
    promised = " ".join(guarantee for guarantee, _ in ROWS)
    for word in ("lost", "once", "agree", "newest", "resurrection", "tenants", "dead worker", "truth"):
        assert word in promised


@pytest.mark.parametrize(("guarantee", "proofs"), ROWS, ids=[guarantee for guarantee, _ in ROWS])
def test_what_proves_a_guarantee_is_there(guarantee, proofs):
    named = re.findall(r"`(tests/[^`]+)`", proofs)
    scenarios = [
        name for part in re.findall(r"chaos ((?:`[a-z-]+`(?:, )?)+)", proofs) for name in part.split("`")[1::2]
    ]
    assert named or scenarios
    for name in named:
        path, _, test = name.partition("::")
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not test or re.search(rf"def {re.escape(test)}\(", source), f"{test} is not in {path}"
    assert set(scenarios) <= SCENARIOS
