"""Shards: the streams that accepted work waits in, each read by one drain at a time.

A shard's name says which Celery queue its drains run on: `3` is an interactive shard, `bulk-3` one of the bulk
queue's. So slow work never stands before quick work, and all of it has the same bells, leases and recovery.
"""

from __future__ import annotations

import zlib

from emendo_config.queues import BULK, INFERENCE, INTERACTIVE, MAINTENANCE, QUEUES
from emendo_config.settings import Settings

# The re-embedding's own shard: its next step must not stand behind the chunks that it queued itself.
MIGRATION_SHARD = f"{MAINTENANCE}-migration"


def shard_of(routing_id: str, settings: Settings, queue: str = INTERACTIVE) -> str:
    """The shard of a memory (or of a job that makes new ones): stable over processes and releases.

    Args:
        routing_id: what must stay in order goes by one id.
        settings: how many shards there are.
        queue: one of QUEUES.
    """
    return shard_name(queue, zlib.crc32(routing_id.encode()), settings)


def shard_name(queue: str, number: int, settings: Settings) -> str:
    """The queue's shard of that number; numbers beyond the last begin again."""
    place = number % shards_of(queue, settings)
    return str(place) if queue == INTERACTIVE else f"{queue}-{place}"


def shards_of(queue: str, settings: Settings) -> int:
    """How many shards a queue has."""
    return {
        INTERACTIVE: settings.inbox_shards,
        INFERENCE: settings.inference_shards,
        BULK: settings.bulk_shards,
        MAINTENANCE: settings.maintenance_shards,
    }[queue]


def queue_of(shard: str) -> str:
    """The Celery queue that a shard's drains run on."""
    queue = shard.rpartition("-")[0]
    return queue if queue in QUEUES else INTERACTIVE
