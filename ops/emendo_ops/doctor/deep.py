"""The deep check: diagnoses of a sample of the memories, or of all."""

from __future__ import annotations

import random
from collections.abc import Callable

from emendo_client.errors import EmendoError
from emendo_client.exchanges.diagnosis.audit import Audit, audit
from emendo_client.exchanges.exchange import run
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_ops.doctor.finding import Finding

# The checks that must not have failed.
_REQUIRED = frozenset({"settings", "redis", "search"})


def check_memories(
    findings: list[Finding], sample: int | None, on_progress: Callable[[int, int], None]
) -> tuple[Finding, Audit | None]:
    """Diagnoses memories, unless a check they depend on failed.

    Args:
        findings: of the other checks.
        sample: how many memories, drawn at random; None for all.
        on_progress: called with (done, total).

    Returns:
        The finding, and the audit; None if the memories could not be diagnosed.
    """
    if any(finding.state == "fail" and finding.check in _REQUIRED for finding in findings):
        return Finding("memories", "fail", "not looked at", "repair the above first"), None
    try:
        found = diagnose_sample(Settings(), sample, on_progress)
    except EmendoError as error:
        return Finding("memories", "fail", error.message, error.suggestion or ""), None
    described = f"{found.looked_at:,} looked at, {found.wrong:,} damaged"
    mend = "docs/how-to/diagnose.md says how to repair each kind" if found.wrong else ""
    return Finding("memories", "fail" if found.wrong else "ok", described, mend), found


def diagnose_sample(settings: Settings, sample: int | None, on_progress: Callable[[int, int], None]) -> Audit:
    """Diagnoses `sample` memories, or all.

    Raises:
        VectorStoreError: there are memories and no index.
        NetworkError: Redis does not answer.
    """
    connection = connect(settings.redis_url, settings)
    try:
        keys = Keys(settings.key_prefix)
        return run({"data": sender_for(connection)}, audit(keys, settings, sample, on_progress, random.SystemRandom()))
    finally:
        connection.close()
