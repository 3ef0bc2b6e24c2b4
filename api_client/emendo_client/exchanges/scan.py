"""The SCAN over all memories of a key prefix, shared by the diagnosis and by re-embedding."""

from __future__ import annotations

from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_config import Keys


def memory_ids(keys: Keys, cursor: int, count: int) -> Exchange[tuple[int, list[str]]]:
    """A page of memory ids of all projects, with the next cursor; the cursor 0 begins and ends the scan.

    A memory that is added or removed during the scan may be missed, and an id may come twice.
    """
    ((next_cursor, found),) = yield RoundTrip("data", [("SCAN", cursor, "MATCH", keys.memory_pattern, "COUNT", count)])
    names = (keys.memory_id(key.decode(errors="replace")) for key in found)
    return int(next_cursor), [name for name in names if name is not None]
