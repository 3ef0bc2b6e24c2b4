"""Writes docs/reference/errors.md from `ErrorCode` and the error tree: `python docs/generate_errors.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import sys
from pathlib import Path

from generated_page import write_or_check

from emendo_client import errors
from emendo_config.error_codes import ErrorCode

PAGE = Path(__file__).resolve().parent / "reference" / "errors.md"

INTRODUCTION = """\
# Errors

This page is generated from `emendo_config.error_codes` and `emendo_client.errors`; change these, then run
`python docs/generate_errors.py`.

Every error has a class (`emendo_client.errors`), a code, a message, `details` and mostly a `suggestion`. Job records,
results and dead letters hold it as JSON: `{"type", "code", "message", "details", "suggestion"}`. No message holds
memory text, a key or a host's name.
"""

RETRIES = """\
## Codes

*Tried again* is about the workers. They try a job `EMENDO_MAX_ATTEMPTS` times, with growing pauses. Where no attempt is
spent, they try for as long as it takes. A job that is not tried again becomes a dead letter (`emendo dead`). A request
that is refused (*nor by a replay*) becomes none. Its job ends as failed, and the record expires (`EMENDO_JOB_TTL`). An
empty cell: the error reaches the caller, and no job fails with it.
"""


def page() -> str:
    """The whole page, as it should stand in docs/reference/errors.md."""
    _, tree = (errors.__doc__ or "").split("\n\n", 1)
    table = ["| code | class | what it means | what to do | tried again |", "| --- | --- | --- | --- | --- |"]
    table += (_row(code) for code in sorted(ErrorCode))
    return "\n".join((INTRODUCTION, "```text", tree.rstrip(), "```", "", RETRIES, *table, ""))


def _row(code: ErrorCode) -> str:
    return f"| `{code}` | {code.error_class} | {code.meaning} | {code.advice} | {code.retry} |"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_errors.py"))
