"""`consistency="strong"`: a job succeeds only after its effect is on disk or on replicas, as the settings ask."""

from __future__ import annotations

from dataclasses import replace

from redis.exceptions import RedisError, ResponseError

from emendo_client.errors import ConfigurationError, EmendoError, NetworkError
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_config.store.formats import applied_value, version_entry_id
from emendo_workers.jobs.operations import Delete
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.store_outages import failure_of, is_away
from emendo_workers.store import Store

# Seconds that the key of a confirmed state is kept: only that it was written matters.
_CONFIRMED_TTL = 60
# The server became a replica while it waited, or was one when the wait began.
_NOT_A_MASTER = ("UNBLOCKED", "replica instances")


def wait_durable(outcomes: list[ItemOutcome], store: Store) -> list[ItemOutcome]:
    """Waits until the effects of the strong operations are on disk or on replicas, as configured.

    An effect that is there, but not confirmed in time, gets an error beside its result. The next attempt finds it and
    only waits. An effect that is not there any more gets the error in place of its result: the next attempt decides the
    operation again. A state upon which an operation found nothing to do is confirmed like a change.
    """
    settings = store.settings
    if not settings.strong_fsync and not settings.strong_replicas:
        return outcomes
    commands = {
        place: command
        for place, outcome in enumerate(outcomes)
        if outcome.operation.strong and outcome.error is None and (command := _confirmation(outcome, store)) is not None
    }
    if not commands:
        return outcomes
    absent = _lost()
    try:
        present, error = _confirmed(list(commands.values()), store)
    except RedisError as outage:
        if not is_away(outage):
            raise
        # Whether the effects are there is not known. Neighbours that are not strong are done.
        present, error, absent = [False] * len(commands), None, failure_of(outage)
    settled = list(outcomes)
    for place, is_present in zip(commands, present, strict=True):
        if not is_present:
            settled[place] = replace(outcomes[place], result=None, error=absent)
        elif error is not None:
            settled[place] = replace(outcomes[place], error=error)
    return settled


def _confirmation(outcome: ItemOutcome, store: Store) -> scripts.Command | None:
    """The command that confirms the effect with a write; None when there is nothing that could be lost."""
    operation, keys = outcome.operation, store.keys
    memory_id, result = operation.memory_id, outcome.result
    erased = keys.erased_history(memory_id) if isinstance(operation, Delete) and operation.hard else None
    if result is not None and outcome.is_change:
        version = int(result["version"])
        return scripts.confirm(
            applied=keys.applied(memory_id, operation.applied_id),
            history=keys.history(memory_id),
            erased_history=erased,
            value=applied_value(result["event"], version, is_disputed="conflict_id" in result),
            entry_id=version_entry_id(version),
            job_id=operation.job_id,
            item="" if operation.item is None else str(operation.item),
            ttl=store.settings.job_ttl,
        )
    if outcome.based_on is not None:
        version, commit_id = outcome.based_on
        return scripts.confirm_state(
            memory=keys.memory(memory_id),
            history=keys.history(memory_id),
            confirmed=keys.confirmed(memory_id),
            erased_history=erased,
            version=str(version),
            commit_id=commit_id,
            entry_id=version_entry_id(version),
            ttl=_CONFIRMED_TTL,
        )
    return None


def _confirmed(confirmations: list[scripts.Command], store: Store) -> tuple[list[bool], EmendoError | None]:
    """Which effects are there, and the error when they are not as durable as asked.

    WAIT and WAITAOF cover writes of their own connection. A write after the commits stands for them, since log and
    replication keep the order. Each confirmation is such a write. All of it is one pipeline: when the connection
    breaks, it begins again on the next one, which may lead to another server.

    Raises:
        RedisError: Redis failed midway.
    """
    settings = store.settings
    timeout_ms = max(1, int(settings.strong_timeout * 1000))  # 0 would wait without a limit
    if settings.strong_fsync:
        wait: scripts.Command = ("WAITAOF", 1, settings.strong_replicas, timeout_ms)
    else:
        wait = ("WAIT", settings.strong_replicas, timeout_ms)
    try:
        *present, reply = scripts.run(store.data, [*confirmations, wait])
    except ResponseError as error:
        text = str(error)
        if any(words in text for words in _NOT_A_MASTER):
            return [False] * len(confirmations), None
        if "appendonly" in text or "unknown command" in text:
            present = scripts.run(store.data, confirmations)
            return scripts.confirm.replies(present), ConfigurationError(
                f"the data Redis cannot confirm writes ({type(error).__name__}); the change itself is committed",
                suggestion="set appendonly yes, or unset EMENDO_STRONG_FSYNC",
            )
        raise
    local, replicas = reply if settings.strong_fsync else (0, reply)
    if int(local) >= settings.strong_fsync and int(replicas) >= settings.strong_replicas:
        return scripts.confirm.replies(present), None
    return scripts.confirm.replies(present), NetworkError(
        "the change is committed, but not confirmed on disk or replicas yet", error_code=ErrorCode.NOT_CONFIRMED
    )


def _lost() -> EmendoError:
    return NetworkError(
        "what the job did is not certain: a failover may have lost it; another attempt looks and does it again",
        error_code=ErrorCode.NOT_CONFIRMED,
    )
