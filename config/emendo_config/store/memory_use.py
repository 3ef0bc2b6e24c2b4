"""How much of its memory a Redis uses, as its INFO tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class MemoryUse(NamedTuple):
    """Bytes used, as Redis compares them with its limit, and the limit; 0 for none."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """The used part of the limit; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> MemoryUse:
        """From the reply to `INFO memory`. Buffers of the append-only file and of replicas do not count."""
        used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
        return cls(used, int(info.get("maxmemory", 0)))
