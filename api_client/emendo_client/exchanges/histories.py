"""Reads of histories: page by page, so that a long one makes nobody wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emendo_client.exchanges.exchange import CallerError, Exchange, RoundTrip
from emendo_client.exchanges.memories import no_memory
from emendo_client.exchanges.scan import memory_ids
from emendo_client.models import HistoryEntry
from emendo_client.records.history import history_entries, history_entry, with_old_states
from emendo_config import Keys
from emendo_config.store import scripts
from emendo_config.store.pipeline import Command, as_text

# Entries of one page: with the longest texts it is some megabytes.
PAGE = 200
BEGINNING = "-"
# Memories whose first pages are read in one round trip of an export, and keys that one SCAN call visits.
_AT_ONCE = 20
_SCAN_COUNT = 1_000
_Raw = tuple[bytes, dict[bytes, bytes]]


def history(keys: Keys, project: str, memory_id: str) -> Exchange[list[HistoryEntry]]:
    """Every change of one memory, oldest first; also of a deleted one.

    Raises:
        MemoryNotFoundError: the project has no such memory.
    """
    owner, reply = yield RoundTrip(
        "data", [("HMGET", keys.memory(memory_id), "project"), page_command(keys, memory_id, BEGINNING)]
    )
    if as_text(owner[0]) != project:
        raise no_memory(memory_id)
    entries = yield from rest(keys, memory_id, scripts.read_history.reply(reply))
    return history_entries(memory_id, entries)


def page_command(keys: Keys, memory_id: str, after: str) -> Command:
    """The command that reads the page after an entry."""
    return scripts.read_history(
        memory=keys.memory(memory_id),
        history=keys.history(memory_id),
        erased_history=keys.erased_history(memory_id),
        after=after,
        count=PAGE,
    )


def is_last(page: scripts.HistoryPage) -> bool:
    """True when no page follows."""
    return len(page) < PAGE if isinstance(page, list) else True


def rest(keys: Keys, memory_id: str, page: scripts.HistoryPage) -> Exchange[Sequence[_Raw]]:
    """The entries of a page and of all pages after it; none if the history is missing or no stream."""
    entries: list[_Raw] = []
    while isinstance(page, list):
        entries += page
        if is_last(page):
            break
        (reply,) = yield RoundTrip("data", [page_command(keys, memory_id, as_text(entries[-1][0]))])
        page = scripts.read_history.reply(reply)
    return entries


def export(
    keys: Keys, project: str, wanted: Sequence[str] | None, write: Callable[[HistoryEntry], None]
) -> Exchange[int]:
    """Hands out the histories of memories, entry by entry, in constant space; the number of memories.

    Deleted and erased memories are among them. If memories are added meanwhile, one may come twice.

    Args:
        keys: key names.
        project: the project.
        wanted: ids of its memories; None for all.
        write: called with each entry; those of one memory come together, oldest first.

    Raises:
        MemoryNotFoundError: the project has no such memory.
    """
    if wanted is not None:
        return (yield from _export_some(keys, project, wanted, write, must_exist=True))
    cursor = count = 0
    while True:
        cursor, found = yield from memory_ids(keys, cursor, _SCAN_COUNT)
        count += yield from _export_some(keys, project, found, write, must_exist=False)
        if not cursor:
            return count


def _export_some(
    keys: Keys, project: str, wanted: Sequence[str], write: Callable[[HistoryEntry], None], *, must_exist: bool
) -> Exchange[int]:
    owners = yield RoundTrip("data", [("HGET", keys.memory(memory_id), "project") for memory_id in wanted])
    ours = []
    for memory_id, owner in zip(wanted, owners, strict=True):
        if as_text(owner) == project:
            ours.append(memory_id)
        elif must_exist:
            raise no_memory(memory_id)
    for first in range(0, len(ours), _AT_ONCE):
        some = ours[first : first + _AT_ONCE]
        replies = yield RoundTrip("data", [page_command(keys, memory_id, BEGINNING) for memory_id in some])
        for memory_id, reply in zip(some, replies, strict=True):
            yield from _export_one(keys, memory_id, scripts.read_history.reply(reply), write)
    return len(ours)


def _export_one(
    keys: Keys, memory_id: str, page: scripts.HistoryPage, write: Callable[[HistoryEntry], None]
) -> Exchange[None]:
    last: HistoryEntry | None = None
    while isinstance(page, list):
        stored = [history_entry(memory_id, entry_id, raw) for entry_id, raw in page]
        for entry in with_old_states(stored, last):
            try:
                write(entry)
            except Exception as error:
                raise CallerError(error) from error
            last = entry
        if is_last(page) or last is None:
            return
        (reply,) = yield RoundTrip("data", [page_command(keys, memory_id, last.id)])
        page = scripts.read_history.reply(reply)
