"""The queues, so that slow work never stands before quick work, and their names at the broker."""

from __future__ import annotations

INTERACTIVE = "interactive"
INFERENCE = "inference"
BULK = "bulk"
MAINTENANCE = "maintenance"
QUEUES = (INTERACTIVE, INFERENCE, BULK, MAINTENANCE)


def names_at_broker(broker_url: str, key_prefix: str) -> dict[str, str]:
    """The Celery queue's name for each of QUEUES: so that two installations may share one broker.

    On a Redis broker kombu puts the key prefix before every key. Others know no prefix, so the names carry it.
    """
    prefix = "" if is_redis(broker_url) else key_prefix
    return {queue: f"{prefix}{queue}" for queue in QUEUES}


def is_redis(broker_url: str) -> bool:
    """True when the broker is a Redis, whatever the way there."""
    return broker_url.startswith(("redis", "sentinel", "unix"))
