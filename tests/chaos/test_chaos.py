"""The chaos suite in a bounded size; `make chaos` runs it in full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.mixed_releases import NoSuchReleaseError
from tests.chaos.scenarios import SCENARIOS
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_invariants_hold(name, tmp_path):
    scenario, _, jobs = SCENARIOS[name]
    seed = random.SystemRandom().randrange(1 << 32)
    try:
        report = scenario(tmp_path, seed, jobs)
    except NoSuchReleaseError as missing:
        pytest.skip(str(missing))
    print(report)
    assert report.clean, f"seed {seed}: {report}"
    assert report.faults > 0, "nothing went wrong, so nothing was proved"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_harness_that_is_stopped_leaves_no_process_behind(number):
    harness = subprocess.Popen([sys.executable, "-m", "tests.chaos", "--only", "workers-killed"])
    try:
        children = _children_when(harness, 4)  # Redis and three workers
    finally:
        harness.send_signal(number)
    assert harness.wait(PATIENCE) == 128 + number
    assert [pid for pid in children if _runs(pid)] == []


def _children_when(harness: subprocess.Popen, count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        tasks = Path(f"/proc/{harness.pid}/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        if len(children) >= count:
            return children
        time.sleep(0.05)
    raise AssertionError("the harness did not start its processes")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
