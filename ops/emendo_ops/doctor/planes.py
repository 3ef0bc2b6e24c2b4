"""Makes the two planes agree after one of them came back from an older copy.

The data Redis has the memories. The control Redis has their clock, the lists of conflicts, dead letters, and results
of jobs. Each step changes what disagrees and nothing else, beside live traffic. Jobs that an older control Redis
still has find their effects in the data Redis when they are worked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from emendo_client.exchanges.scan import memory_ids
from emendo_client.records.jobs import stored_chunks, stored_items
from emendo_config import Settings
from emendo_config.store import scripts
from emendo_config.store.formats import chunk_id, conflict_id
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.dead_letter_erasure import redact_erased
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.maintenance.project_lists import find_projects, tidy_lists
from emendo_workers.memories.state import WriteTimes
from emendo_workers.store import Store, open_store

# Keys of one SCAN, and members or records of one round trip.
_SCAN_COUNT = 1_000
_PAGE = 500
# Memories that are named.
_SHOWN = 20

# A bar for work with this name: a function that takes (done, total) while it stands.
Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass
class Agreement:
    """The result.

    Attributes:
        clock: True when the clock of submissions was behind a memory's write times.
        listed: conflicts that were put on the list of their project.
        unlisted: entries of such lists that were taken off.
        redacted: dead letters and waiting jobs that lost the content of erased memories.
        lost: memories that lack a change which a job's record calls done; at most _SHOWN of them.
        lost_count: how many there are.
    """

    clock: bool = False
    listed: int = 0
    unlisted: int = 0
    redacted: int = 0
    lost: list[str] = field(default_factory=list)
    lost_count: int = 0

    def lines(self) -> list[str]:
        """The deeds, a sentence each; what no repair brings back comes last."""
        done = [
            (self.clock, "the clock of submissions was behind and is set forward"),
            (self.listed, f"{self.listed:,} conflicts are listed again"),
            (self.unlisted, f"{self.unlisted:,} entries without a job or conflict are taken off the lists"),
            (self.redacted, f"{self.redacted:,} dead letters or waiting jobs lost the text of erased memories"),
        ]
        told = [line for is_done, line in done if is_done]
        if self.lost_count:
            named = ", ".join(self.lost) + (", …" if self.lost_count > len(self.lost) else "")
            told.append(
                f"{self.lost_count:,} memories lack changes that jobs call done: {named}. "
                "The data Redis is older; emendo import brings them back from a newer export"
            )
        return told or ["the two planes agree"]


def reconcile(settings: Settings, bars: Bars) -> Agreement:
    """Looks at all memories, conflicts and jobs in bounded steps, and repairs what disagrees.

    Args:
        settings: of the installation.
        bars: shows how far it is.

    Raises:
        RedisError: one of the servers failed midway. A second run goes on.
    """
    found = Agreement()
    with closing(open_store(settings)) as store:
        with bars("keys of memories") as advance:
            projects = _memories(store, found, advance)
        projects |= _conflicts(store, found)
        if projects:
            scripts.run(store.control, [scripts.list_projects(projects=store.keys.projects, names=sorted(projects))])
        _find_all_projects(store)
        found.unlisted = tidy_lists(store, 0)["removed"]
        with bars("jobs") as advance:
            _jobs(store, found, advance)
    return found


def _memories(store: Store, found: Agreement, advance: Callable[[int, int], None]) -> set[str]:
    """Brings the clock up to the newest write time, and redacts what names erased memories; the projects."""
    newest, cursor, projects = 0, 0, set[str]()
    keys = store.data.dbsize()
    for scans in itertools.count():
        advance(min(scans * _SCAN_COUNT, keys), keys)
        cursor, ids = run_exchange(store, memory_ids(store.keys, cursor, _SCAN_COUNT))
        names = ("project", "stamps", "erased")
        replies = scripts.run_each(store.data, [("HMGET", store.keys.memory(each), *names) for each in ids])
        erased = set[str]()
        for memory_id, reply in zip(ids, replies, strict=True):
            if isinstance(reply, ResponseError):  # damaged: the deep doctor says so
                continue
            project, stamps, is_erased = map(as_text, reply)
            projects.add(project)
            newest = max(newest, _newest(stamps))
            if is_erased:
                erased.add(memory_id)
        if erased:
            found.redacted += redact_erased(erased, store)
        if not cursor:
            break
    if newest:
        (raised,) = scripts.run(store.control, [scripts.raise_clock(clock=store.keys.clock, newest=newest)])
        found.clock = scripts.raise_clock.reply(raised)
    return projects - {""}


def _newest(stamps: str) -> int:
    try:
        times = WriteTimes.from_json(stamps)
        return max(times.base, times.text, times.deleted, *times.metadata.values(), 0)
    except (ValueError, TypeError, AttributeError):
        return 0


def _conflicts(store: Store, found: Agreement) -> set[str]:
    """Lists conflicts of the data Redis that the control Redis does not know; their projects."""
    keys, projects = store.keys, set[str]()
    names = store.data.scan_iter(match=keys.conflict_pattern, count=_SCAN_COUNT)
    for page in _pages(names, _PAGE):
        ids = [each for each in map(keys.conflict_memory, map(as_text, page)) if each is not None]
        owners = scripts.run_each(store.data, [("HGET", keys.memory(each), "project") for each in ids])
        for memory_id, owner in zip(ids, owners, strict=True):
            if not isinstance(owner, bytes):
                continue
            project = as_text(owner)
            projects.add(project)
            marks = (mark for mark, _ in store.data.hscan_iter(keys.conflict(memory_id), count=_PAGE))
            for some in _pages(marks, _PAGE):
                now = int(store.control_time() * 1_000_000)
                members = {conflict_id(memory_id, as_text(mark)): now for mark in some}
                added: Any = store.control.zadd(keys.conflicts(project), members, nx=True)
                found.listed += added
    return projects


def _find_all_projects(store: Store) -> None:
    """Ends the search for projects that is under way, and makes a whole one."""
    for _ in range(2):
        find_projects(store)
        while int(store.control.hget(store.keys.housekeeping, "cursor") or 0):
            find_projects(store)


def _jobs(store: Store, found: Agreement, advance: Callable[[int, int], None]) -> None:
    """Looks for changes that a job's record calls done, and that the data Redis does not have."""
    control, keys = store.control, store.keys
    lost = set[str]()
    lists = [keys.jobs(as_text(project)) for project in control.sscan_iter(keys.projects, count=_PAGE)]
    done, total = 0, sum(map(control.zcard, lists))
    for jobs in lists:
        listed = (as_text(job_id) for job_id, _ in control.zscan_iter(jobs, count=_PAGE))
        for job_ids in _pages(listed, _PAGE):
            advance(done, max(done, total))
            done += len(job_ids)
            lost |= _lost(store, job_ids)
            chunks = scripts.run_each(control, [("HGET", keys.job(job_id), "chunks") for job_id in job_ids])
            records = (
                chunk_id(job_id, number)
                for job_id, count in zip(job_ids, chunks, strict=True)
                for number in range(stored_chunks(as_text(count)) if isinstance(count, bytes) else 0)
            )
            for some in _pages(records, _PAGE):
                lost |= _lost(store, some)
    found.lost, found.lost_count = sorted(lost)[:_SHOWN], len(lost)


def _lost(store: Store, record_ids: Sequence[str]) -> set[str]:
    replies = scripts.run_each(store.control, [("HGET", store.keys.job(each), "results") for each in record_ids])
    told: dict[str, int] = {}
    for reply in replies:
        for item in stored_items(as_text(reply)) if isinstance(reply, bytes) else ():
            version = item.get("version") if isinstance(item, dict) and item.get("event") else None
            memory_id = item.get("memory_id") if version is not None else None
            if isinstance(version, int) and isinstance(memory_id, str):
                told[memory_id] = max(told.get(memory_id, 0), version)
    ids = sorted(told)
    versions = scripts.run_each(store.data, [("HGET", store.keys.memory(each), "version") for each in ids])
    return {
        memory_id
        for memory_id, version in zip(ids, versions, strict=True)
        if not isinstance(version, ResponseError) and _number(version) < told[memory_id]
    }


def _number(stored: Any) -> int:
    text = as_text(stored)
    return int(text) if text.isascii() and text.isdigit() else 0


def _pages(found: Any, size: int) -> Iterator[list[Any]]:
    rest = iter(found)
    while page := list(itertools.islice(rest, size)):
        yield page
