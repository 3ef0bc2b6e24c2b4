"""A shard's inbox, a Redis stream read by one consumer group: read, taken over from a dead reader, acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import redis

from emendo_config import Keys
from emendo_config.shards import is_configured, is_shard
from emendo_config.store import scripts
from emendo_config.store.formats import delayed_member
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.shards import GROUP
from emendo_workers.jobs.work import Entry
from emendo_workers.store import Store

# All readers share one name: the wake-up key names the drain, and a successor finds what its predecessor left.
READER = "drain"


class PendingEntry(NamedTuple):
    """An entry that was read and not acknowledged, and how often it was delivered."""

    id: str
    deliveries: int


def is_known(store: Store, shard: str) -> bool:
    """True for a shard of these settings, or one that ever had a job: a drain of any other would make keys for it."""
    if is_configured(shard, store.settings):
        return True
    return is_shard(shard) and bool(store.control.sismember(store.keys.shards, shard))


def ensure_group(control: redis.Redis, inbox: str) -> None:
    """Creates the inbox and its consumer group if they are not there."""
    scripts.run(control, [scripts.ensure_group(inbox=inbox)])


def read_new(control: redis.Redis, inboxes: Iterable[str], count: int) -> list[Entry]:
    """Reads up to `count` new entries of each inbox."""
    streams: Any = dict.fromkeys(inboxes, ">")
    reply: Any = control.xreadgroup(GROUP, READER, streams, count=count)
    return [_entry(as_text(inbox), *each) for inbox, found in reply or [] for each in found]


def left_behind(control: redis.Redis, inbox: str, count: int) -> list[PendingEntry]:
    """The oldest entries that were read and are still there.

    Nearly all of them are pending. One that was acknowledged and not deleted would stay for ever.
    """
    found: Any = control.xpending_range(inbox, GROUP, "-", "+", count)
    if found:
        return [PendingEntry(as_text(item["message_id"]), int(item["times_delivered"])) for item in found]
    groups: Any = control.xinfo_groups(inbox)
    until = next((group["last-delivered-id"] for group in groups if as_text(group["name"]) == GROUP), "0")
    read: Any = control.xrange(inbox, "-", until, count)
    return [PendingEntry(as_text(entry_id), 1) for entry_id, _ in read]


def take_over(control: redis.Redis, inbox: str, entry_ids: Sequence[str]) -> list[Entry]:
    """Takes entries over that a reader left. Entries deleted meanwhile are acknowledged."""
    ids: list[Any] = list(entry_ids)
    claimed: Any = control.xclaim(inbox, GROUP, READER, min_idle_time=0, message_ids=ids, force=True)
    entries = [_entry(inbox, *each) for each in claimed if each[1]]
    gone = set(entry_ids) - {entry.id for entry in entries}
    if gone:
        control.xack(inbox, GROUP, *gone)
    return entries


def acknowledge(control: redis.Redis, entries: Iterable[Entry]) -> None:
    """Acknowledges and deletes entries whose jobs need no work."""
    pipeline = control.pipeline()
    for entry in entries:
        pipeline.xack(entry.inbox, GROUP, entry.id)
        pipeline.xdel(entry.inbox, entry.id)
    pipeline.execute()


def postpone(control: redis.Redis, keys: Keys, entry: Entry, due_ms: int) -> None:
    """Puts an entry among the delayed jobs, whatever its record is like; the sweeper returns it."""
    member = delayed_member(entry.inbox.removeprefix(keys.inbox("")), entry.record_id)
    command = scripts.postpone(inbox=entry.inbox, delayed=keys.delayed, member=member, entry_id=entry.id, due_ms=due_ms)
    scripts.run(control, [command])


def _entry(inbox: str, entry_id: Any, fields: Any) -> Entry:
    """An entry of an inbox; one that names no job has an empty record id."""
    return Entry(inbox, as_text(entry_id), as_text(fields.get(b"job")))
