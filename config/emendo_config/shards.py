"""Shards: the streams that accepted work waits in, each read by one drain at a time.

A shard's name says which Celery queue its drains run on: `3` is an interactive shard, `bulk-3` one of the bulk
queue's. So slow work never stands before quick work, and all of it has the same wake-ups, leases and recovery.
"""

from __future__ import annotations

import re
import zlib
from operator import attrgetter

from emendo_config.queues import BULK, INFERENCE, INTERACTIVE, MAINTENANCE, QUEUES
from emendo_config.settings import Settings

# Names of a newer release's queues count, too.
_SHARD = re.compile(r"\d{1,5}|[a-z][a-z_]*-([a-z]?\d{1,5}|migration)", re.ASCII)
# The re-embedding's own shard: its next step must not stand behind the chunks that it queued itself.
MIGRATION_SHARD = f"{MAINTENANCE}-migration"
_SHARDS = {
    INTERACTIVE: attrgetter("inbox_shards"),
    INFERENCE: attrgetter("inference_shards"),
    BULK: attrgetter("bulk_shards"),
    MAINTENANCE: attrgetter("maintenance_shards"),
}
# Before the number of a shard of imported conversations: `inference-i3`.
IMPORTED_PREFIX = "i"


def shard_of(routing_id: str, settings: Settings, queue: str = INTERACTIVE) -> str:
    """The shard of a memory (or of a job that makes new ones): stable over processes and releases.

    Args:
        routing_id: what must stay in order goes by one id.
        settings: how many shards there are.
        queue: one of QUEUES.
    """
    return shard_name(queue, _spread(routing_id), settings)


def imported_shard_of(scope: str, settings: Settings) -> str:
    """The shard of an imported conversation of that scope. Single adds never stand behind it in an inbox."""
    return f"{INFERENCE}-{IMPORTED_PREFIX}{_spread(scope) % settings.inference_shards}"


def is_imported(shard: str) -> bool:
    """True for a shard of imported conversations."""
    return shard.startswith(f"{INFERENCE}-{IMPORTED_PREFIX}")


def shard_name(queue: str, number: int, settings: Settings) -> str:
    """The queue's shard of that number; numbers beyond the last begin again."""
    place = number % shards_of(queue, settings)
    return str(place) if queue == INTERACTIVE else f"{queue}-{place}"


def shards_of(queue: str, settings: Settings) -> int:
    """How many shards a queue has."""
    found: int = _SHARDS[queue](settings)
    return found


def queue_of(shard: str) -> str:
    """The Celery queue that a shard's drains run on."""
    queue = shard.rpartition("-")[0]
    return queue if queue in QUEUES else INTERACTIVE


def is_shard(name: str) -> bool:
    """True for the name of a shard: a number, or a queue's name and what tells its shards apart."""
    return _SHARD.fullmatch(name) is not None


def is_configured(name: str, settings: Settings) -> bool:
    """True for the name of a shard that these settings have."""
    if name == MIGRATION_SHARD:
        return True
    queue, dash, place = name.rpartition("-")
    if queue == INFERENCE:
        place = place.removeprefix(IMPORTED_PREFIX)
    is_named = queue in (INFERENCE, BULK, MAINTENANCE) if dash else True
    if not (is_named and place.isascii() and place.isdigit() and len(place) < 6):  # noqa: PLR2004  # digits
        return False
    return str(int(place)) == place and int(place) < shards_of(queue or INTERACTIVE, settings)


def _spread(routing_id: str) -> int:
    """A 32-bit number in which every bit depends on the whole name.

    The low bits of CRC-32 alone follow patterns in names: ids that differ in a few places share half of the shards.
    """
    mixed = zlib.crc32(routing_id.encode())
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF  # the finaliser of MurmurHash3
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return mixed ^ mixed >> 16
