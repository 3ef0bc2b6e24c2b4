"""The page of errors is what `ErrorCode` says, and `ErrorCode` is what the sources raise; every alert has a section."""

from __future__ import annotations

import ast
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from emendo_client import errors
from emendo_client.providers.openai_errors import CHAT, EMBEDDING
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode, Retry
from emendo_config.errors import EmendoError
from emendo_ops.bench.store import MeasurementError
from emendo_workers.jobs import retry

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "emendo_config": "config",
    "emendo_client": "api_client",
    "emendo_gateway": "api_client",
    "emendo_workers": "workers",
    "emendo_ops": "ops",
}
CLASSES: dict[str, type[EmendoError]] = {
    "MeasurementError": MeasurementError,
    **{name: getattr(errors, name) for name in errors.__all__},
}
# Codes of base classes: `raise` always names a more exact one.
ABSTRACT = {ErrorCode.EMENDO, ErrorCode.JOB, ErrorCode.NOT_FOUND, ErrorCode.TRANSIENT}
MET_BY_JOBS = [code for code in ErrorCode if code.retry not in (Retry.NOT_IN_JOBS, Retry.BY_CALLER, Retry.BY_OPERATOR)]
ALERTS = [
    alert["alert"]
    for group in yaml.safe_load((ROOT / "ops/prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    for alert in group["rules"]
    if "alert" in alert
]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call that the sources make. Not at import: each process of a test run imports each file of tests."""
    return [(path, node) for path, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Call)]


def error_calls() -> Iterator[tuple[str, str, ast.expr | None]]:
    """(file, class, the expression of its error_code) of each error that the sources make."""
    for path, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in CLASSES:
            given = [keyword.value for keyword in call.keywords if keyword.arg == "error_code"]
            yield path, call.func.id, given[0] if given else None


def named_code(node: ast.expr | None) -> ErrorCode | None:
    """The member that `ErrorCode.X` stands for; a name that is no member fails."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorCode":
        return ErrorCode[node.attr]
    return None


def passed_codes() -> set[ErrorCode]:
    """The codes that are handed to any call: to an error, or to the function or table it is made from."""
    arguments = [node for _, call in calls() for node in (*call.args, *(keyword.value for keyword in call.keywords))]
    return {code for node in arguments if (code := named_code(node))}


def test_the_page_is_fresh():
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_errors.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_code_is_its_own_name_and_says_what_it_means():
    assert [code.name for code in ErrorCode] == [str(code) for code in ErrorCode] == sorted(ErrorCode)
    assert [code for code in ErrorCode if not code.meaning.endswith(".")] == []
    assert {code.error_class for code in ErrorCode} == CLASSES.keys()


def test_every_error_is_made_with_a_code_of_the_list_and_the_class_of_its_code():
    literals = [(path, node.value) for path, _, node in error_calls() if isinstance(node, ast.Constant)]
    assert literals == []
    made = {(code, name) for _, name, node in error_calls() if (code := named_code(node))}
    made |= {(kind.code, name) for name, kind in CLASSES.items()}
    assert len(made) > 40, "the sources were not read"
    assert [(code, name) for code, name in made if ErrorCode(code).error_class != name] == []
    for provider in (CHAT, EMBEDDING):
        assert {code.error_class for code in (provider.malformed, provider.refused)} == {provider.error.__name__}


def test_every_code_of_the_list_is_raised():
    raised = {CLASSES[name].code for _, name, node in error_calls() if node is None}
    raised |= passed_codes() | {provider.error.code for provider in (CHAT, EMBEDDING)}
    assert set(ErrorCode) - raised == ABSTRACT


@pytest.mark.parametrize("code", MET_BY_JOBS)
def test_what_is_said_of_another_attempt_is_what_is_done(code):
    error = CLASSES[code.error_class]("as it happens", error_code=code)
    decision = retry.decide(error, 1, Settings(), random.Random(1))
    assert (decision.retry, decision.refund) == (
        code.retry.startswith("yes"),
        code.retry in (Retry.UNCOUNTED, Retry.LONGEST_PAUSES),
    )


def test_every_alert_has_a_section_and_no_other():
    page = (ROOT / "docs/how-to/when-paged.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (Emendo\w+)$", page, re.MULTILINE) == ALERTS
