"""Reads of conflicts that wait for a person."""

from __future__ import annotations

from emendo_client.errors import ConflictNotFoundError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.models import Conflict
from emendo_client.records.conflicts import waiting_conflict
from emendo_config import Keys
from emendo_config.store.formats import split_conflict_id
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_config.store.pipeline import Command, as_text


def find(keys: Keys, project: str, limit: int) -> Exchange[list[Conflict]]:
    """The project's conflicts that wait for a person, newest first."""
    (listed,) = yield RoundTrip("control", [("ZREVRANGE", keys.conflicts(project), 0, limit - 1, "WITHSCORES")])
    moments = dict(zip(map(as_text, listed[::2]), listed[1::2], strict=True))
    if not moments:
        return []
    commands: list[Command] = []
    for conflict_id in moments:
        memory_id, mark = split_conflict_id(conflict_id)
        commands.append(("HGET", keys.conflict(memory_id), mark))
        commands.append(("HMGET", keys.memory(memory_id), *MEMORY_FIELDS))
    replies = iter((yield RoundTrip("data", commands)))
    found = [
        waiting_conflict(project, conflict_id, int(float(moment)), next(replies), next(replies))
        for conflict_id, moment in moments.items()
    ]
    return [conflict for conflict in found if conflict is not None]  # the others were resolved or erased a moment ago


def get(keys: Keys, project: str, conflict_id: str) -> Exchange[Conflict]:
    """One conflict that waits for a person.

    Raises:
        ConflictNotFoundError: no such conflict waits in this project.
    """
    memory_id, mark = split_conflict_id(conflict_id)
    (moment,) = yield RoundTrip("control", [("ZSCORE", keys.conflicts(project), conflict_id)])
    if moment is None:
        raise no_conflict(conflict_id)
    document, values = yield RoundTrip(
        "data", [("HGET", keys.conflict(memory_id), mark), ("HMGET", keys.memory(memory_id), *MEMORY_FIELDS)]
    )
    found = waiting_conflict(project, conflict_id, int(float(moment)), document, values)
    if found is None:
        raise no_conflict(conflict_id)
    return found


def no_conflict(conflict_id: str) -> ConflictNotFoundError:
    """The error for the id of no waiting conflict."""
    return ConflictNotFoundError(
        "no such conflict waits",
        details={"conflict_id": conflict_id},
        suggestion="it may be resolved already; conflicts() lists the waiting ones",
    )
