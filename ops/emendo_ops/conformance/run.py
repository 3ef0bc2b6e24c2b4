"""Carries out the checks against a server, one after another, and removes what they wrote."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum

import httpx2 as httpx

from emendo_ops.conformance.checks import CHECKS, Skip, Violation
from emendo_ops.conformance.connection import Connection, UnexpectedAnswerError
from emendo_ops.conformance.dialect import Dialect
from emendo_ops.conformance.mem0 import Mem0
from emendo_ops.conformance.native import Native

# Each dialect with the scheme of its `Authorization`.
DIALECTS: dict[str, tuple[type[Dialect], str]] = {"emendo": (Native, "Bearer"), "mem0": (Mem0, "Token")}


class Verdict(StrEnum):
    """The end of a check: `error` if the server did not answer as it must, so that nothing was found out."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    ERROR = "error"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check's verdict, and one line on why."""

    check: str
    verdict: Verdict
    why: str


async def examine(
    url: str,
    dialect: str,
    key: str,
    other_key: str = "",
    *,
    patience: float = 30.0,
    transport: httpx.AsyncBaseTransport | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005  # nobody looks
) -> list[Outcome]:
    """Carries out all checks.

    Args:
        key: may write; empty for a server without keys.
        other_key: of another project, or empty.
        patience: seconds until a request or a job that has not ended counts as an error.
        on_progress: called with how many of how many checks are carried out.

    Raises:
        ConfigurationError: the server cannot be reached, or refuses a key; nothing was written.
    """
    kind, scheme = DIALECTS[dialect]
    async with AsyncExitStack() as running:
        callers: list[Dialect] = []
        for each in (key, other_key) if other_key else (key,):
            connection = Connection(url, f"{scheme} {each}" if each else "", patience, transport)
            running.push_async_callback(connection.close)
            callers.append(kind(connection))
            await connection.greet(kind.greeting)
            running.push_async_callback(_remove, callers[-1])
        other = callers[1] if other_key else None
        outcomes: list[Outcome] = []
        for name in CHECKS:
            on_progress(len(outcomes), len(CHECKS))
            outcomes.append(await _outcome(name, callers[0], other))
        on_progress(len(outcomes), len(CHECKS))
        return outcomes


async def _outcome(name: str, server: Dialect, other: Dialect | None) -> Outcome:
    try:
        return Outcome(name, Verdict.PASS, await CHECKS[name](server, other))
    except Skip as reason:
        return Outcome(name, Verdict.SKIP, str(reason))
    except Violation as finding:
        return Outcome(name, Verdict.FAIL, str(finding))
    except UnexpectedAnswerError as reason:
        return Outcome(name, Verdict.ERROR, str(reason))


async def _remove(server: Dialect) -> None:
    """Removes what the checks wrote, as far as the server does it."""
    for memory_id in server.written:
        with suppress(UnexpectedAnswerError):
            await server.end(await server.begin_delete(memory_id, for_good=True))
