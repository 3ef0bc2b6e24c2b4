"""The page of errors lists every code that can be met, with its class; that of alerts every alert."""

from __future__ import annotations

import ast
import importlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from emendo_client import errors
from emendo_client.provider_errors import CHAT, EMBEDDING
from emendo_config import Settings
from emendo_config.errors import EmendoError
from emendo_workers import retry

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"emendo_config": "config", "emendo_client": "api_client", "emendo_workers": "workers"}
# What only tests, measurements and the demo meet.
ELSEWHERE = ("testing", "bench", "demo", "evaluation")
ROWS = re.findall(
    r"^\| `([A-Z_]+)` \| (\w+) \| ([^|]+) \|([^|]*)\|$",
    (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
MET_BY_JOBS = [(code, name, again.strip()) for code, name, _, again in ROWS if again.strip().startswith(("yes", "no"))]
LISTED = {code: name for code, name, _, _ in ROWS}
ALERTS = [
    alert["alert"]
    for group in yaml.safe_load((ROOT / "ops/prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    for alert in group["rules"]
]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if not set(parts) & set(ELSEWHERE):
                yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def given_codes() -> set[tuple[str, str]]:
    """(code, class) of each error that is made with a code of its own."""
    found = set()
    for module, tree in sources():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            for keyword in call.keywords:
                if keyword.arg == "error_code" and call.func.id.endswith("Error"):
                    found |= {(code, call.func.id) for code in values(module, keyword.value)}
    return found


def values(module: str, node: ast.expr) -> list[str]:
    """What the expression stands for: a string, or a constant of its module; a variable can be anything."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.Name):
        value = getattr(importlib.import_module(module), node.id, None)
        return [value] if isinstance(value, str) else []
    return []


def class_codes() -> set[tuple[str, str]]:
    """(code, class) of the errors that have their class's code."""
    classes = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]
    return {(each.code, each.__name__) for each in classes if each is not EmendoError}


def provider_codes() -> set[tuple[str, str]]:
    return {
        (code, provider.error.__name__)
        for provider in (CHAT, EMBEDDING)
        for code in (provider.malformed, provider.refused)
        if code
    }


def test_every_code_is_listed_with_its_class_and_no_other():
    found = given_codes() | class_codes() | provider_codes() | {("MEMORY_ERASED", "MemoryNotFoundError")}
    assert len(found) > 40, "the sources were not read"
    assert dict(found) == LISTED
    assert len(found) == len(LISTED), "one code has two classes"
    assert len(ROWS) == len(LISTED)
    assert list(LISTED) == sorted(LISTED)


@pytest.mark.parametrize(("code", "name", "again"), MET_BY_JOBS)
def test_what_is_said_of_another_attempt_is_what_is_done(code, name, again):
    error = getattr(errors, name, EmendoError)("as it happens", error_code=code)
    decision = retry.decide(error, 1, Settings(), random.Random(1))
    assert (decision.retry, decision.refund) == (again.startswith("yes"), "no attempt is spent" in again)


def test_every_alert_has_a_section_and_no_other():
    page = (ROOT / "docs/how-to/when-paged.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (Emendo\w+)$", page, re.MULTILINE) == ALERTS
