"""The chaos suite in a bounded size; `make chaos` runs it in full."""

from __future__ import annotations

import random

import pytest
from scenarios import SCENARIOS


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_books_balance(name, tmp_path):
    scenario, _, jobs = SCENARIOS[name]
    report = scenario(tmp_path, random.SystemRandom().randrange(1 << 32), jobs)
    print(report)
    assert report.clean, report
    assert report.faults > 0 or name == "one-memory", "nothing went wrong, so nothing was proved"
