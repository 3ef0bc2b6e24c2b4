"""The embedding spaces of the store, beside the one that the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from redis import Redis

from emendo_config import ConfigurationError, Keys, Settings
from emendo_config.spaces.index import IndexDescription, find_active
from emendo_config.spaces.indexes import described, index_names
from emendo_config.spaces.registry import find_space, read_registry, registered_spaces
from emendo_config.spaces.replacement import has_open_prefix, replace_open_indexes
from emendo_config.store.pipeline import as_text
from emendo_ops.doctor.finding import Finding

# Seconds between two looks at an index that Redis fills.
_POLL = 0.1


def check_spaces(connection: Redis, settings: Settings) -> Iterator[Finding]:
    """Yields the space that is searched, whether the settings name it, and all spaces if there are several."""
    keys, wanted = Keys(settings.key_prefix), settings.space
    yield from _neighbours(connection, keys)
    behind = described(connection, keys.index_alias)
    if behind is None:
        yield Finding("index", "warn", "there is none yet", "start a worker: it makes the index")
        return
    yield from _foreign_memories(connection, keys, behind)
    registry: Any = connection.hgetall(keys.spaces)
    try:
        records = registered_spaces(registry, settings)
        active = find_active(behind.vector, records)
    except ConfigurationError as error:
        yield Finding("index", "fail", error.message, error.suggestion or "")
        return
    shown = f"{active.name}, {active.space.dimensions} dimensions"
    named = find_space(records, wanted)
    if named is None:
        mend = "set the embedding settings back; emendo reembed changes the model"
        other = ", ".join(
            f"{name} {ours!r} instead of {theirs!r}" for name, ours, theirs in wanted.differences(active.space)
        )
        yield Finding("index", "fail", f"holds {active.name}, settings ask for {wanted.name}: {other}", mend)
    elif find_space([active], wanted) is None:
        mend = f"set EMENDO_EMBEDDING_MODEL={active.space.model} and EMENDO_EMBEDDING_DIMENSIONS to the active space's"
        yield Finding("index", "warn", f"{shown}; the settings name {named.name}", mend)
    else:
        yield Finding("index", "ok", shown)
    if len(records) > 1:
        listed = ", ".join(f"{record.name} ({record.state})" for record in records)
        yield Finding("spaces", "ok", listed)


def repair_indexes(
    connection: Redis, settings: Settings, deadline: float, on_progress: Callable[[int, int], None]
) -> bool:
    """Replaces indexes with an open prefix while searches go on; False when Redis still fills one at the deadline.

    Args:
        connection: to the data Redis.
        settings: of the installation.
        deadline: on the monotonic clock.
        on_progress: called with (done, total), in hundredths.
    """
    keys = Keys(settings.key_prefix)
    while not replace_open_indexes(connection, settings, described(connection, keys.index_alias)):
        made = [described(connection, keys.index(each.name)) for each in read_registry(connection, keys)]
        on_progress(int(100 * min((each.filled for each in made if each is not None), default=0)), 100)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _foreign_memories(connection: Redis, keys: Keys, behind: IndexDescription) -> Iterator[Finding]:
    """An index with an open prefix, as earlier releases made it, and what it holds of other installations."""
    if not has_open_prefix(behind, keys):
        return
    prefix = keys.memory_prefix.replace("\\", "\\\\").replace("'", "\\'")
    reply: Any = connection.execute_command(
        *("FT.AGGREGATE", behind.name, "*", "LOAD", 1, "@__key", "FILTER", f"!startswith(@__key, '{prefix}')"),
        *("GROUPBY", 0, "REDUCE", "COUNT", 0, "AS", "found", "DIALECT", 2),
    )
    foreign = int(as_text(reply[1][1])) if len(reply) > 1 else 0
    mend = "emendo doctor --repair replaces the index while searches go on; a running worker does it by itself"
    found = f"{behind.name} has an open prefix; {foreign:,} keys of other installations are in it"
    yield Finding("foreign memories", "fail" if foreign else "warn", found, mend)


def _neighbours(connection: Redis, keys: Keys) -> Iterator[Finding]:
    """Installations in the same Redis whose prefix and this one's make the same key names."""
    for other in keys.neighbours(index_names(connection)):
        found = f"the key prefix {other!r} of another installation lies within the keys of {keys.prefix!r}, or around"
        yield Finding("key prefix", "warn", found, "give one of them another prefix")
