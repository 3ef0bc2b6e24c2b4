"""Limits of one project: a window of work in the inboxes for each lane, and a quota of open jobs.

A lane is a kind of slow work. The records of a project beyond its window wait on a list of their own, so the inboxes
hold little of each project. Quick single changes have no lane.
"""

from __future__ import annotations

from emendo_config.queues import BULK, INFERENCE
from emendo_config.settings import Settings
from emendo_config.store.formats import woken_by
from emendo_config.store.keys import Keys

# Chunks of batch jobs; conversations of single adds; conversations of batch jobs.
CHUNKS, SINGLE, IMPORTED = BULK, INFERENCE, "imported"
LANES = (CHUNKS, SINGLE, IMPORTED)


def chunk_window(settings: Settings) -> int:
    """How many chunks of a project the inboxes hold. By default a third of them stays free for other projects."""
    return settings.project_window_chunks or max(1, settings.bulk_shards * 2 // 3)


def windows(keys: Keys, settings: Settings) -> list[str | int]:
    """The argument `windows` of scripts: names of keys and sizes, in the order of `lua/shared/project_windows.lua`."""
    return [
        keys.inbox(""),
        keys.wakeup(""),
        keys.job(""),
        keys.open_jobs_prefix,
        keys.admitted_prefix,
        keys.waiting_prefix,
        keys.waiting_lanes,
        keys.shards,
        woken_by("window"),
        settings.wakeup_ttl_ms,
        settings.job_ttl,
        chunk_window(settings),
        settings.project_window_conversations,
        settings.bulk_shards,
    ]
