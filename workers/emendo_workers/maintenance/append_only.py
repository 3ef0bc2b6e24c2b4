"""The append-only file holds erased texts until it is rewritten, so housekeeping asks for that after erasures."""

from __future__ import annotations

import logging
from typing import Any

import redis
from redis.exceptions import RedisError

from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.store import Store

logger = logging.getLogger(__name__)


def rewrite_after_erasures(store: Store, now: float) -> int:
    """Asks Redis to rewrite its append-only file if something was erased since the last request.

    Each plane is asked once in `EMENDO_AOF_REWRITE_INTERVAL` seconds at most, and only if it keeps such a file. One
    rewrite may be needless, since Redis or an administrator may have made one in between.

    Args:
        store: the worker's.
        now: seconds since the epoch, by the control Redis.

    Returns:
        How many servers were asked.
    """
    planes = {"control": store.control}
    if store.data is not store.control:
        planes["data"] = store.data
    raw: Any = store.control.hgetall(store.keys.housekeeping)
    marks = {as_text(name): value for name, value in raw.items()}
    erased = int(marks.get("erased", 0))
    asked = 0
    for plane, connection in planes.items():
        last = int(marks.get(f"rewrite:{plane}", 0))
        is_due = int(now * 1_000) - last >= store.settings.aof_rewrite_interval * 1_000
        if erased > last and is_due and _rewrite(connection, plane):
            began = [f"rewrite:{plane}", int(now * 1_000)]
            scripts.run(store.control, [scripts.note(hash=store.keys.housekeeping, fields=began)])
            asked += 1
    return asked


def _rewrite(connection: redis.Redis, plane: str) -> bool:
    """True when the rewrite has begun; a failure is logged, and the next run asks again."""
    try:
        info: Any = connection.info("persistence")
        if not info.get("aof_enabled") or info.get("aof_rewrite_in_progress"):
            return False
        connection.bgrewriteaof()
    except RedisError as error:  # the user may lack the right, or another child process is writing
        logger.warning("no rewrite of the append-only file", extra={"plane": plane, "error": str(error)})
        return False
    return True
