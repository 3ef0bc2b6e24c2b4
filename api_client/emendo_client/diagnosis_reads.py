"""The reads behind `diagnose` and `emendo doctor --deep`, as conversations (see `steps`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emendo_client import checks
from emendo_client.checks import Reading
from emendo_client.diagnosis import Diagnosis
from emendo_client.reads import DIALECT, no_memory
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.redis_io import Command, as_text
from emendo_config.registry import SpaceRecord, registered_spaces


def diagnose(settings: Settings, keys: Keys, project: str, memory_id: str) -> Steps[Diagnosis]:
    """Everything there is to check on one memory of the project, in one round trip."""
    spaces, (reading,) = yield from readings(settings, keys, [memory_id])
    if reading.fields.get("project") != project.encode():
        raise no_memory(memory_id)
    return checks.diagnose(reading, spaces)


def readings(
    settings: Settings, keys: Keys, ids: Sequence[str]
) -> Steps[tuple[tuple[SpaceRecord, ...], list[Reading]]]:
    """The store's embedding spaces, and what Redis holds of the memories, each with its history at one moment.

    All in one round trip.
    """
    reads = [script("read", [keys.memory(name), keys.history(name)], []) for name in ids]
    registry, *replies, (_, *found) = yield Batch("data", [("HGETALL", keys.spaces), *reads, _lookup(keys, ids)])
    indexed = {as_text(key) for key in found}
    return registered_spaces(registry, settings), [
        _reading(memory_id, reply, keys.memory(memory_id) in indexed)
        for memory_id, reply in zip(ids, replies, strict=True)
    ]


def memory_ids(keys: Keys, cursor: int, count: int) -> Steps[tuple[int, list[str]]]:
    """A page of this prefix's memory ids, of all projects, and the next cursor; 0 begins and ends.

    Memories that come or go meanwhile may be missed, and an id may come twice.
    """
    ((next_cursor, found),) = yield Batch("data", [("SCAN", cursor, "MATCH", keys.memory_pattern, "COUNT", count)])
    names = (keys.memory_id(key.decode(errors="replace")) for key in found)
    return int(next_cursor), [name for name in names if name is not None]


def indexed_count(keys: Keys) -> Steps[int]:
    """How many memories the index has, of all projects."""
    (reply,) = yield Batch("data", [("FT.SEARCH", keys.index_alias, "*", "NOCONTENT", "LIMIT", 0, 0, *DIALECT)])
    return int(reply[0])


def _lookup(keys: Keys, ids: Sequence[str]) -> Command:
    """Which of the memories the index has; deleted ones are among them."""
    names = [keys.memory(memory_id) for memory_id in ids]
    return (
        *("FT.SEARCH", keys.index_alias, "*"),
        *("INKEYS", len(names), *names),
        *("NOCONTENT", "LIMIT", 0, len(names)),
        *DIALECT,
    )


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _reading(memory_id: str, reply: Sequence[Any], indexed: bool) -> Reading:
    memory, history = reply
    has_hash, has_stream = isinstance(memory, list), isinstance(history, list)
    return Reading(
        memory_id=memory_id,
        fields={name.decode(errors="replace"): value for name, value in _pairs(memory)} if has_hash else {},
        entries=[(entry_id, dict(_pairs(raw))) for entry_id, raw in history] if has_stream else [],
        indexed=indexed,
        memory_type="hash" if has_hash else as_text(memory),
        history_type="stream" if has_stream else as_text(history),
    )
