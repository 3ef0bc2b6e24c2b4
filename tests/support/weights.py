"""The bytes of memories and jobs, as Redis counts them, averaged over many of a kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from emendo_config import Keys
from emendo_config.store.pipeline import as_text, round_trip


def weight(connection: redis.Redis, names: Iterable[str]) -> float:
    """The average of these keys, all of their elements counted."""
    sizes = round_trip(connection, [("MEMORY", "USAGE", name, "SAMPLES", 0) for name in names])
    return sum(sizes) / len(sizes)


def index_weight(connection: redis.Redis, keys: Keys) -> float:
    """Bytes of the index for each memory, without the vectors' own copy, which grows by whole blocks."""
    reply: Any = connection.execute_command("FT.INFO", keys.index_alias)
    info = {as_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
    parts = [
        name
        for name in info
        if name.endswith(("_sz_mb", "_size_mb")) and not name.startswith("total_") and "vector" not in name
    ]
    return sum(float(info[name]) for name in parts) * 2**20 / int(info["num_docs"])
