"""Metadata tags that an earlier release wrote in another form: they are written again, a part at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from emendo_client.records.derived_fields import metadata_tags
from emendo_config.json_codec import read_json
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.store import Store

# Seconds of one run: some 100,000 memories.
SECONDS = 10.0
SCAN_COUNT = 1_000
# A second turn over all memories finds what workers of the earlier release wrote during an upgrade.
TURNS = 2
BETWEEN_TURNS = 86_400.0


def renew_tags(store: Store, now: float) -> int:
    """Writes the tags of the next memories whose tags are not those of their metadata; how many it wrote.

    The index takes a memory up again when its tags change. Versions and histories stay as they are.

    Args:
        store: the worker's.
        now: seconds since the epoch.
    """
    control, keys = store.control, store.keys
    names = ("tags_cursor", "tags_turns", "tags_turned")
    cursor, turns, turned = (int(value or 0) for value in control.hmget(keys.housekeeping, names))
    if turns >= TURNS or (turns and not cursor and now < turned + BETWEEN_TURNS):
        return 0
    written, deadline = 0, time.monotonic() + SECONDS
    while True:
        cursor, found = store.data.scan(cursor, match=keys.memory_pattern, count=SCAN_COUNT)
        written += _renew(store, found)
        if not cursor:
            noted: list[Any] = ["tags_cursor", 0, "tags_turns", turns + 1, "tags_turned", int(now)]
            break
        if time.monotonic() >= deadline:
            noted = ["tags_cursor", cursor]
            break
    scripts.run(control, [scripts.note(hash=keys.housekeeping, fields=noted)])
    return written


def _renew(store: Store, names: Sequence[Any]) -> int:
    pipeline = store.data.pipeline(transaction=False)
    for name in names:
        pipeline.hmget(name, "metadata", "metadata_tags")
    commands = []
    for name, reply in zip(names, pipeline.execute(raise_on_error=False), strict=True):
        right = _tags(reply)
        if right is not None and right.encode() != (reply[1] or b""):
            commands.append(scripts.write_tags(memory=as_text(name), metadata=reply[0], tags=right))
    return sum(map(bool, scripts.run(store.data, commands))) if commands else 0


def _tags(reply: Any) -> str | None:
    """The tags that the memory must have; None for what cannot be read, which a diagnosis tells of."""
    if isinstance(reply, Exception) or reply[0] is None:
        return None
    try:
        metadata = read_json(reply[0])
        return metadata_tags(metadata) if isinstance(metadata, dict) else None
    except ValueError:
        return None
