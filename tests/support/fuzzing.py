"""Runs schemathesis on a gateway: requests made from its OpenAPI document, and checks of each answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Left out: `positive_data_acceptance`. A schema cannot say that a request needs a scope, or that a text is not blank.
# `not_a_server_error` has its place taken by `no_failure` of the hooks, which knows the one 503 that is no failure.
CHECKS = (
    "no_failure",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)
# How what breaks the schema may be answered: schemathesis' own list, and 431 for a query that makes the head too large.
REJECTIONS = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "431", "5xx"]
TIMEOUT = 900.0


def fuzz(
    folder: Path, url: str, key: str, *, phases: str, examples: int, seed: int = 1, document: str = "/openapi.json"
) -> dict[str, Any]:
    """The report of one run.

    Args:
        folder: for the run's files.
        phases: of `examples,coverage,fuzzing,stateful`.
        document: the path of the OpenAPI document.
        examples: cases of each operation in each phase that makes them up.

    Raises:
        AssertionError: something was found; it says what.
    """
    report = folder / "report.json"
    config = folder / "schemathesis.toml"
    config.write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {json.dumps(REJECTIONS)}\n", "utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}{document}"]
    command += ["--header", f"Authorization: Bearer {key}", "--phases", phases, "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--generation-deterministic"]
    command += ["--warnings", "off", "--no-color", "--no-shrink"]
    command += ["--report", "json", "--report-json-path", str(report)]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.fuzzing_hooks"}
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **hooks, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found
