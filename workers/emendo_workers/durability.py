"""What `consistency="strong"` adds: a commit is only called done when it would survive what the settings name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis.exceptions import ResponseError

from emendo_client.errors import ConfigurationError, EmendoError, NetworkError
from emendo_workers.outcomes import ItemOutcome
from emendo_workers.services import Services


def make_safe(outcomes: list[ItemOutcome], services: Services) -> list[ItemOutcome]:
    """Waits until the strong ones among the committed operations are on disk or on replicas, as configured.

    What is not confirmed in time gets an error beside its result, and is tried again: the next attempt finds the
    applied mark and only waits.
    """
    settings = services.settings
    if not settings.strong_fsync and not settings.strong_replicas:
        return outcomes
    strong = {id(outcome) for outcome in outcomes if outcome.operation.strong and outcome.is_change}
    error = _wait([outcome for outcome in outcomes if id(outcome) in strong], services) if strong else None
    if error is None:
        return outcomes
    return [replace(outcome, error=error) if id(outcome) in strong else outcome for outcome in outcomes]


def _wait(changes: list[ItemOutcome], services: Services) -> EmendoError | None:
    settings = services.settings
    timeout_ms = max(1, int(settings.strong_timeout * 1000))  # 0 would mean: for ever
    pipeline: Any = services.data.pipeline(transaction=False)
    # WAIT and WAITAOF are about the writes of their own connection; a write after the commits stands for them, since
    # log and replication keep their order. Renewing a mark is one, unless it has expired: so all are renewed.
    for change in changes:
        pipeline.expire(services.keys.applied(change.operation.memory_id, change.operation.mark), settings.job_ttl)
    if settings.strong_fsync:
        pipeline.execute_command("WAITAOF", 1, settings.strong_replicas, timeout_ms)
    else:
        pipeline.execute_command("WAIT", settings.strong_replicas, timeout_ms)
    try:
        reply = pipeline.execute()[-1]
    except ResponseError as error:
        return ConfigurationError(
            f"the data Redis cannot confirm writes ({type(error).__name__}); the change itself is committed",
            suggestion="set appendonly yes, or unset EMENDO_STRONG_FSYNC",
        )
    local, replicas = reply if settings.strong_fsync else (0, reply)
    if int(local) >= settings.strong_fsync and int(replicas) >= settings.strong_replicas:
        return None
    return NetworkError(
        "the change is committed, but not confirmed on disk or replicas yet", error_code="NOT_CONFIRMED"
    )
