"""A failed test shows how the logs of the containers end."""

from __future__ import annotations

from collections.abc import Generator

import pytest

_LENGTH = 3_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds them to the report."""
    report = yield
    stack = item.funcargs.get("started")
    if report.failed and stack:
        report.sections += [(f"end of the log of {name}", stack.logs(name)[-_LENGTH:]) for name in stack.containers()]
    return report
