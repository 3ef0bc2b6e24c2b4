"""The demo reports the jobs that Flower listed, and no address, since that Flower has stopped by then."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from emendo_ops.demo import story
from emendo_ops.demo.checks import Checks

STACK = {"flower_url": "http://127.0.0.1:1", "flower_user": "someone", "flower_password": "hush"}
DONE = [SimpleNamespace(job=SimpleNamespace(id="j1"), line=SimpleNamespace(op="add"))]


@pytest.mark.parametrize(("tasks", "failed"), [({"j1": {"name": "emendo.add"}}, False), ({}, True)])
def test_flower_is_checked_and_its_address_is_not_shown(monkeypatch, tasks, failed):
    monkeypatch.setattr(story, "_flower_tasks", lambda _: tasks)
    monkeypatch.setattr(story, "_WAIT", 0.01)
    written = io.StringIO()
    checks = Checks(Console(file=io.StringIO()))
    story._check_flower(STACK, DONE, Console(file=written, width=140), checks)
    assert bool(checks.failed) is failed
    assert written.getvalue() == f"Flower listed {len(tasks)} jobs by id and name; with emendo up you can watch it\n"
