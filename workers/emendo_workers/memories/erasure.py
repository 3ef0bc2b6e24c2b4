"""The second half of an erasure: the history keeps when, what and by whom; all content goes, in bounded steps.

The commit has moved the history aside (`erased_history`), where readers see no content. Each step here takes a page of
it: the vectors of its texts leave the cache, and `move_erased.lua` brings back what may stay. A worker may die between
any two steps; the next attempt at the job goes on. Housekeeping ends the erasures that no job comes back to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from emendo_client.records.derived_fields import text_hash
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store import scripts
from emendo_config.store.pipeline import Command, as_text
from emendo_workers.jobs.operations import Delete
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.providers.vector_cache import VectorCache
from emendo_workers.services import Services
from emendo_workers.store import Store

# Entries of one step: no command of a step holds Redis up for long.
STEP = 100
# Seconds that one attempt gives to erasures, since the other jobs of its batch wait meanwhile.
_LONGEST = 2.0
# Seconds after its commit from which an erasure counts as abandoned: a job that goes on comes back sooner.
_ABANDONED = 60.0
_MOST_ABANDONED = 500

# Drops the cached vectors of texts.
_Forget = Callable[[SpaceRecord, Sequence[str]], None]


def announcement(store: Store, memory_id: str) -> Command:
    """The command that lists an erasure for housekeeping; it goes before the commit, so that no death comes between."""
    return scripts.announce_erasure(
        erasures=store.keys.erasures, at=int(store.control_time() * 1_000), memory_id=memory_id
    )


def finish_erasures(outcomes: Sequence[ItemOutcome], services: Services) -> list[ItemOutcome]:
    """Removes the content of memories that were erased just now; an unfinished erasure becomes a busy outcome.

    Call it before the outcomes are recorded. The next attempt finds the applied key and only goes on here.
    """
    erased = {
        outcome.operation.memory_id
        for outcome in outcomes
        if isinstance(outcome.operation, Delete) and outcome.operation.hard and outcome.result
    }
    if not erased:
        return list(outcomes)

    def forget(space: SpaceRecord, texts: Sequence[str]) -> None:
        pipeline = services.embedding if services.is_own(space) else services.pipelines.find(space)
        if pipeline is None:  # an erasure needs no provider
            _forget_cached(services.store, space, texts)
        else:
            pipeline.forget(texts)

    unfinished = _move(services.store, sorted(erased), forget)
    return [
        ItemOutcome(outcome.operation, busy=True)
        if outcome.result and outcome.operation.memory_id in unfinished
        else outcome
        for outcome in outcomes
    ]


def finish_abandoned(store: Store, now: float) -> None:
    """Removes the content of memories whose erasure was committed and never finished.

    Args:
        store: the worker's.
        now: seconds since the epoch, by the control Redis.
    """
    newest = int((now - _ABANDONED) * 1_000)
    listed: Any = store.data.zrangebyscore(store.keys.erasures, "-inf", newest, start=0, num=_MOST_ABANDONED)

    if listed:
        _move(store, [as_text(memory_id) for memory_id in listed], partial(_forget_cached, store))


def _forget_cached(store: Store, space: SpaceRecord, texts: Sequence[str]) -> None:
    VectorCache(store, space.embedded_as).forget([text_hash(text) for text in texts])


def _move(store: Store, memory_ids: Sequence[str], forget: _Forget) -> set[str]:
    """Moves entries until none is left or the time is over; the memories that still have some."""
    keys, ends = store.keys, time.monotonic() + _LONGEST
    spaces: tuple[SpaceRecord, ...] | None = None
    left = list(memory_ids)
    while left:
        pages = scripts.run(
            store.data, [("XRANGE", keys.erased_history(name), "-", "+", "COUNT", STEP) for name in left]
        )
        found = [(name, page) for name, page in zip(left, pages, strict=True) if page]
        if not found:
            left = []
            break
        if spaces is None:
            registry: Any = store.data.hgetall(keys.spaces)
            spaces = registered_spaces(registry, store.settings)
        texts = list(dict.fromkeys(text for _, page in found for _, entry in page for text in _texts(entry)))
        for space in spaces if texts else ():
            forget(space, texts)
        replies = scripts.run(
            store.data,
            [
                scripts.move_erased(
                    memory=keys.memory(name),
                    history=keys.history(name),
                    erased_history=keys.erased_history(name),
                    until_id=as_text(page[-1][0]),
                    count=STEP,
                )
                for name, page in found
            ],
        )
        has_more = scripts.move_erased.replies(replies)
        left = [name for (name, _), more in zip(found, has_more, strict=True) if more]
        if time.monotonic() >= ends:
            break
    finished = sorted(set(memory_ids).difference(left))
    if finished:
        store.data.zrem(keys.erasures, *finished)
    return set(left)


def _texts(entry: dict[bytes, bytes]) -> list[str]:
    return [as_text(entry[name]) for name in (b"old_memory", b"new_memory") if name in entry]
