"""Dead letters in housekeeping: those of earlier releases are sorted by project, and old ones are discarded."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from emendo_client.exchanges.dead_letters import discard_command
from emendo_config.json_codec import compact_json, read_json
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.store import Store

# Records of one round trip, and of one run of housekeeping. A payload may hold a thousand texts.
_PAGE = 100
_MOST = 10_000


def adopt_unsorted(store: Store) -> int:
    """Moves dead letters from the list that earlier releases keep to their projects' lists; how many were moved.

    A worker of an earlier release that runs beside this one goes on listing its dead letters there.
    """
    control, keys = store.control, store.keys
    moved = 0
    for _ in range(_MOST // _PAGE):
        ids = [as_text(raw) for raw in control.zrange(keys.unsorted_dead, 0, _PAGE - 1)]
        if not ids:
            break
        pipeline: Any = control.pipeline(transaction=False)
        for record_id in ids:
            pipeline.hmget(keys.job(record_id), "project", "payload")
        replies = pipeline.execute()
        commands = [
            _adoption(store, record_id, *map(as_text, found)) for record_id, found in zip(ids, replies, strict=True)
        ]
        moved += sum(scripts.adopt.replies(scripts.run(control, commands)))
    return moved


def discard_old(store: Store, now: float) -> int:
    """Discards dead letters older than `EMENDO_DEAD_TTL`, oldest first; how many.

    Args:
        store: the worker's.
        now: seconds since the epoch, by the control Redis.
    """
    if store.settings.dead_ttl is None:
        return 0
    control, keys = store.control, store.keys
    horizon = int((now - store.settings.dead_ttl) * 1_000_000)
    run_id, left, discarded = uuid.uuid4().hex, _MOST, 0
    for project in sorted(map(as_text, control.sscan_iter(keys.dead_projects, count=_PAGE))):
        while left > 0:
            old: Any = control.zrange(
                keys.dead(project), "-inf", horizon, byscore=True, offset=0, num=_PAGE, withscores=True
            )
            if not old:
                break
            found = [(as_text(record_id), int(at)) for record_id, at in old]
            outcomes = _discard(store, project, found, run_id)
            left -= len(found)
            discarded += outcomes.count("discarded")
            gone = [each for (each, _), outcome in zip(found, outcomes, strict=True) if outcome == "unknown"]
            if gone:  # their records were removed by hand
                control.zrem(keys.dead(project), *gone)
            elif "discarded" not in outcomes:  # others were faster, or they failed again: the next run looks again
                break
    return discarded


def _discard(store: Store, project: str, found: Sequence[tuple[str, int]], run_id: str) -> list[str]:
    commands = [
        discard_command(store.settings, store.keys, project, record_id, run_id=run_id, failed_at=at)
        for record_id, at in found
    ]
    return scripts.discard.replies(scripts.run(store.control, commands))


def _adoption(store: Store, record_id: str, project: str, payload: str) -> scripts.Command:
    keys = store.keys
    memories = _memories_of(payload)
    return scripts.adopt(
        record=keys.job(record_id),
        dead=keys.dead(project),
        unsorted_dead=keys.unsorted_dead,
        dead_projects=keys.dead_projects,
        record_id=record_id,
        project=project,
        memories=compact_json(memories),
        dead_of=[keys.dead_of(memory_id) for memory_id in memories],
    )


def _memories_of(payload: str) -> list[str]:
    """The ids of the memories that a payload names; none for a damaged one, which a replay would not read either."""
    try:
        operations = read_json(payload)["operations"]
        return list(dict.fromkeys(name for each in operations if (name := str(each.get("memory_id") or ""))))
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
