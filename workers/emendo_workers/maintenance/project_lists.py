"""The lists of each project, of its jobs and of its conflicts: found bit by bit, and kept free of what is gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from emendo_config import Keys
from emendo_config.store import scripts
from emendo_config.store.formats import split_conflict_id
from emendo_config.store.pipeline import as_text
from emendo_workers.runtime.steps import run_step
from emendo_workers.store import Store

# Keys of one SCAN, and SCANs of one search: about a sixth of a second in short pieces, however many keys there are.
SCAN_COUNT = 1_000
SCANS_PER_SEARCH = 100
# Entries of one list that are looked at in one round trip.
_PAGE = 1_000
# Projects that are looked at in one round trip.
_PROJECTS_AT_ONCE = 500


def find_projects(store: Store) -> int:
    """Searches the next part of the keys for projects, and takes them on the list; how many were found.

    The list is complete after one turn over all keys. The search never ends, so it also finds projects of processes of
    an older release, and those that a failover took off the list.
    """
    control, keys = store.control, store.keys
    cursor: Any = int(control.hget(keys.housekeeping, "cursor") or 0)
    found: set[str] = set()
    for _ in range(SCANS_PER_SEARCH):
        cursor, names = control.scan(cursor, match=keys.project_list_pattern, count=SCAN_COUNT)
        projects = (keys.listed_project(name) for name in _own(store, map(as_text, names)))
        found.update(project for project in projects if project is not None)
        if cursor == 0:
            break
    if found:
        scripts.run(control, [scripts.list_projects(projects=keys.projects, names=sorted(found))])
    scripts.run(control, [scripts.note(hash=keys.housekeeping, fields=["cursor", cursor])])
    return len(found)


def tidy_lists(store: Store, horizon: int) -> dict[str, int]:
    """Takes what is gone off the lists of all known projects, and projects without a list off the list of projects.

    Args:
        store: the worker's.
        horizon: jobs that were submitted before may be gone (microseconds).

    Returns:
        Counts: `lists` looked at, entries `removed` from them.
    """
    control, keys = store.control, store.keys
    lists = removed = 0
    for projects in _known_projects(store):
        pipeline = control.pipeline(transaction=False)
        for project in projects:
            pipeline.zcard(keys.jobs(project))
            pipeline.zcount(keys.jobs(project), "-inf", horizon)
            pipeline.zcard(keys.conflicts(project))
        replies = iter(pipeline.execute(raise_on_error=False))
        for project, jobs, old, conflicts in zip(projects, replies, replies, replies, strict=True):
            lists += bool(jobs) + bool(conflicts)
            for tidy in (
                partial(_trim, store, keys.jobs(project), horizon) if old else None,
                partial(_drop_resolved, store, keys.conflicts(project)) if conflicts else None,
            ):
                removed += (run_step("housekeeping", tidy) or 0) if tidy else 0
            if not jobs and not conflicts:
                control.srem(keys.projects, project)
    return {"lists": lists, "removed": removed}


def _known_projects(store: Store) -> Iterator[list[str]]:
    known: Iterable[Any] = store.control.sscan_iter(store.keys.projects, count=_PROJECTS_AT_ONCE)
    names = map(as_text, known)
    while some := list(itertools.islice(names, _PROJECTS_AT_ONCE)):
        yield some


def _own(store: Store, names: Iterable[str]) -> Iterator[str]:
    """The keys without those of another installation: for `app:jobs:jobs:p` it may have the prefix `app:jobs:`.

    An installation that ever had a job has a clock.
    """
    for name in names:
        clocks = [Keys(prefix).clock for prefix in store.keys.owners(name)]
        if not any(store.control.type(clock) == b"string" for clock in clocks):
            yield name


def _drop_resolved(store: Store, conflicts: str) -> int:
    """Takes conflicts of erased memories off their list."""
    control, keys = store.control, store.keys
    removed = 0
    # A cursor misses no conflict while others come and go.
    found = (conflict_id for conflict_id, _ in control.zscan_iter(conflicts, count=_PAGE))
    while listed := list(itertools.islice(found, _PAGE)):
        pipeline = store.data.pipeline(transaction=False)
        for conflict_id in listed:
            memory_id, mark = split_conflict_id(as_text(conflict_id))
            pipeline.hexists(keys.conflict(memory_id), mark)
        # A key of another type gives an error; its conflicts stay listed.
        replies = pipeline.execute(raise_on_error=False)
        gone = [each for each, exists in zip(listed, replies, strict=True) if not exists]
        if gone:
            removed += int(control.zrem(conflicts, *gone))
    return removed


def _trim(store: Store, jobs: str, horizon: int) -> int:
    """Takes jobs whose record is gone off their list; an old job that still waits keeps its place."""
    control, keys = store.control, store.keys
    removed = start = 0
    while True:
        old: Any = control.zrangebyscore(jobs, "-inf", horizon, start=start, num=1_000)
        if not old:
            return removed
        pipeline = control.pipeline(transaction=False)
        for job_id in old:
            pipeline.exists(keys.job(as_text(job_id)))
        gone = [job_id for job_id, exists in zip(old, pipeline.execute(), strict=True) if not exists]
        if gone:
            removed += control.zrem(jobs, *gone)
        start += len(old) - len(gone)
