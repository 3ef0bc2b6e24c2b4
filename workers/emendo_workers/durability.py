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

    What is not confirmed in time becomes an error that is tried again: the next attempt finds the applied mark and
    only waits.
    """
    settings = services.settings
    asked = settings.strong_fsync or settings.strong_replicas
    strong = [outcome for outcome in outcomes if asked and outcome.operation.strong and outcome.result is not None]
    error = _wait(strong[0], services) if strong else None
    if error is None:
        return outcomes
    return [replace(outcome, result=None, error=error) if outcome in strong else outcome for outcome in outcomes]


def _wait(outcome: ItemOutcome, services: Services) -> EmendoError | None:
    settings, operation = services.settings, outcome.operation
    timeout_ms = int(settings.strong_timeout * 1000)
    pipeline: Any = services.data.pipeline(transaction=False)
    # WAIT and WAITAOF are about the writes of their own connection; a write after the commits stands for them, since
    # log and replication keep their order.
    mark = services.keys.applied(operation.memory_id, operation.mark)
    pipeline.expire(mark, settings.job_ttl)
    if settings.strong_fsync:
        pipeline.execute_command("WAITAOF", 1, settings.strong_replicas, timeout_ms)
    else:
        pipeline.execute_command("WAIT", settings.strong_replicas, timeout_ms)
    try:
        reply = pipeline.execute()[1]
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
