"""A failover as one memory meets it: a replica takes over that never got the master's last writes."""

from __future__ import annotations

from emendo_workers.services import Services


class Replica:
    """One memory's keys as a replica has them that gets no more writes."""

    def __init__(self, services: Services, memory_id: str) -> None:
        self._data = services.data
        escaped = f"{services.settings.key_prefix}*[{{]{memory_id}[}}]*"
        self._pattern = escaped
        self._lock = services.keys.lock(memory_id).encode()
        self._kept = {name: (self._data.dump(name), max(0, self._data.pttl(name))) for name in self._names()}

    def take_over(self) -> None:
        """The replica becomes the master: all later writes of the memory are lost. Locks stay as they are."""
        self._data.delete(*(self._names() or ["none"]))
        for name, (value, ttl_ms) in self._kept.items():
            self._data.restore(name, ttl_ms, value, replace=True)

    def _names(self) -> list[bytes]:
        return [name for name in self._data.scan_iter(match=self._pattern, count=1_000) if name != self._lock]
