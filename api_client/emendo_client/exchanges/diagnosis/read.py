"""The reads of a diagnosis: `diagnose` for one memory, `readings` for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.exchanges import histories
from emendo_client.exchanges.diagnosis import checks
from emendo_client.exchanges.diagnosis.checks import Reading
from emendo_client.exchanges.diagnosis.models import Diagnosis
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.memories import DIALECT, no_memory
from emendo_config import Keys, Settings
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store import scripts
from emendo_config.store.memory_fields import COMMIT_FIELD
from emendo_config.store.pipeline import Command, as_text

# Times that a memory with a history of several pages is read while commits come between.
_ATTEMPTS = 3


def diagnose(settings: Settings, keys: Keys, project: str, memory_id: str) -> Exchange[Diagnosis]:
    """Every check of one memory of the project.

    Raises:
        MemoryNotFoundError: the project has no such memory.
    """
    spaces, (reading,) = yield from readings(settings, keys, [memory_id])
    if reading.fields.get("project") != project.encode():
        raise no_memory(memory_id)
    return checks.diagnose(reading, spaces)


def readings(
    settings: Settings, keys: Keys, ids: Sequence[str]
) -> Exchange[tuple[tuple[SpaceRecord, ...], list[Reading]]]:
    """The store's embedding spaces and the stored state of the memories.

    A memory and its history are read as they are at one moment: in one round trip, if the history has one page.
    """
    registry, *replies, (_, *found) = yield RoundTrip(
        "data", [("HGETALL", keys.spaces), *(_command(keys, name) for name in ids), _lookup(keys, ids)]
    )
    indexed = {as_text(key) for key in found}
    read = []
    for memory_id, reply in zip(ids, replies, strict=True):
        read.append((yield from _reading(keys, memory_id, reply, keys.memory(memory_id) in indexed)))
    return registered_spaces(registry, settings), read


def indexed_count(keys: Keys) -> Exchange[int]:
    """The number of memories of all projects in the index."""
    (reply,) = yield RoundTrip("data", [("FT.SEARCH", keys.index_alias, "*", "NOCONTENT", "LIMIT", 0, 0, *DIALECT)])
    return int(reply[0])


def _lookup(keys: Keys, ids: Sequence[str]) -> Command:
    """The command whose reply names those of the memories that the index holds, deleted ones too."""
    names = [keys.memory(memory_id) for memory_id in ids]
    return (
        *("FT.SEARCH", keys.index_alias, "*"),
        *("INKEYS", len(names), *names),
        *("NOCONTENT", "LIMIT", 0, len(names)),
        *DIALECT,
    )


def _command(keys: Keys, memory_id: str) -> Command:
    return scripts.read_memory(
        memory=keys.memory(memory_id),
        history=keys.history(memory_id),
        erased_history=keys.erased_history(memory_id),
        count=histories.PAGE,
    )


def _reading(keys: Keys, memory_id: str, reply: Any, indexed: bool) -> Exchange[Reading]:
    """The memory as it was at one moment; if a commit came between two pages, all is read again.

    Of a memory that changes all the time, the entries that came after its last reading are left out.
    """
    for _ in range(_ATTEMPTS):
        memory, page = scripts.read_memory.reply(reply)
        fields = _fields(memory)
        entries = yield from histories.rest(keys, memory_id, page)
        if histories.is_last(page):
            break
        (reply,) = yield RoundTrip("data", [_command(keys, memory_id)])
        now = _fields(scripts.read_memory.reply(reply)[0])
        if all(fields.get(name) == now.get(name) for name in ("version", COMMIT_FIELD)):
            break
    else:
        version = fields.get("version", b"")
        entries = [each for each in entries if version.isdigit() and int(each[0].split(b"-")[0]) <= int(version)]
    return Reading(
        memory_id=memory_id,
        fields=fields,
        entries=entries,
        indexed=indexed,
        memory_type="hash" if isinstance(memory, list) else as_text(memory),
        history_type="stream" if isinstance(page, list) else page,
    )


def _fields(memory: list[bytes] | bytes) -> dict[str, bytes]:
    if not isinstance(memory, list):
        return {}
    return {name.decode(errors="replace"): value for name, value in zip(memory[::2], memory[1::2], strict=True)}
