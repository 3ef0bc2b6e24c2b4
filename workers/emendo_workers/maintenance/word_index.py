"""The words of memories that were written without them: while `EMENDO_INDEX_TEXT` was off, or by an older worker."""

from __future__ import annotations

import time
from typing import Any

from emendo_client.exchanges.scan import memory_ids
from emendo_client.records.words import indexed_words
from emendo_config.store import scripts
from emendo_config.store.memory_fields import WORDS_FIELD
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.store import Store

_SCAN_COUNT = 500
# Seconds that one run works, so that the other steps of housekeeping are not kept waiting.
_BUDGET = 5.0
# Seconds until a pass over all memories begins again: an older worker may have changed a text since.
_PAUSE = 86_400.0


def index_words(store: Store, now: float) -> int:
    """Gives memories the words of their texts, as far as one run comes; the next run goes on there.

    Args:
        store: the worker's.
        now: seconds since the epoch, by the control Redis.

    Returns:
        The number of memories that lacked them.
    """
    control, keys = store.control, store.keys
    if not store.settings.index_text:
        return 0
    read: Any = control.hmget(keys.housekeeping, "words_cursor", "words_ended")
    position, ended = int(read[0] or 0), float(read[1] or 0)
    if not position and now - ended < _PAUSE:
        return 0
    ends, written = time.monotonic() + _BUDGET, 0
    while True:
        position, ids = run_exchange(store, memory_ids(keys, position, _SCAN_COUNT))
        written += _write_words(store, ids)
        if not position or time.monotonic() > ends:
            break
    fields = ["words_cursor", position, *([] if position else ["words_ended", now])]
    scripts.run(control, [scripts.note(hash=keys.housekeeping, fields=fields)])
    return written


def _write_words(store: Store, ids: list[str]) -> int:
    names = [store.keys.memory(memory_id) for memory_id in ids]
    replies = scripts.run_each(store.data, [("HMGET", name, "memory", "hash", WORDS_FIELD) for name in names])
    commands = []
    for name, reply in zip(names, replies, strict=True):
        if not isinstance(reply, list) or reply[0] is None or reply[1] is None:  # damaged, or erased
            continue
        text, digest, there = map(as_text, reply)
        words = indexed_words(text)
        if words != there:
            commands.append(scripts.write_words(memory=name, text_hash=digest, field=WORDS_FIELD, words=words))
    return sum(scripts.write_words.reply(reply) for reply in scripts.run(store.data, commands))
