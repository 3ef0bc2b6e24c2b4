"""A store to measure: settings, client, the ids of its memories; and whether what was measured really happened."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from emendo_client.client import MemoryClient
from emendo_client.errors import EmendoError
from emendo_config import Keys, Settings
from emendo_config.redis_io import as_text, round_trip

_AT_A_TIME = 1_000


class MeasurementError(EmendoError):
    """What was measured did not happen as it should: the figure would be a lie."""

    code = "MEASUREMENT"


@dataclass(slots=True)
class Store:
    """One store with a worker at work.

    Attributes:
        ids: memories of the client's project, to update.
        data: a connection of the benchmark's own, for checks.
        provider_requests: how many the provider has seen; None when it cannot be asked.
        latency_ms: the provider's, where it is known.
        worker_pid: of the one worker process, where there is one.
    """

    settings: Settings
    client: MemoryClient
    data: redis.Redis
    ids: list[str]
    provider_requests: Callable[[], int] | None = None
    latency_ms: float = 0.0
    worker_pid: int = 0

    @property
    def keys(self) -> Keys:
        """The store's key names."""
        return Keys(self.settings.key_prefix)

    def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """The memories' versions.

        Raises:
            MeasurementError: one of them is not there.
        """
        found = {}
        replies = self._ask(("HGET", self.keys.memory(memory_id), "version") for memory_id in ids)
        for memory_id, version in zip(ids, replies, strict=True):
            if version is None:
                raise MeasurementError("a memory to measure with is not there", details={"memory_id": memory_id})
            found[memory_id] = int(version)
        return found

    def check(self, expected: dict[str, tuple[int, str | None]]) -> None:
        """Compares each memory with what it must be now: its version, as long a history, and its text if given.

        Raises:
            MeasurementError: one of them is otherwise.
        """
        keys = self.keys
        memories = self._ask(("HMGET", keys.memory(memory_id), "version", "memory") for memory_id in expected)
        histories = self._ask(("XREVRANGE", keys.history(memory_id), "+", "-", "COUNT", 1) for memory_id in expected)
        lengths = self._ask(("XLEN", keys.history(memory_id)) for memory_id in expected)
        rows = zip(expected.items(), memories, histories, lengths, strict=True)
        for (memory_id, (version, text)), (is_version, is_text), newest, length in rows:
            entry = _fields(newest[0][1]) if newest else {}
            problem = ""
            if int(is_version or 0) != version or length != version or entry.get("version") != str(version):
                problem = f"version {as_text(is_version)} with {length} history entries where {version} were due"
            elif text is not None and not as_text(is_text) == entry.get("new_memory") == text:
                problem = "memory or history has another text than the update gave"
            if problem:
                raise MeasurementError(f"an update went wrong: {problem}", details={"memory_id": memory_id})

    def _ask(self, commands: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        return ask(self.data, commands)


def ask(connection: redis.Redis, commands: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """The replies, in order; pipelined, some commands at a time."""
    left = iter(commands)
    while some := list(itertools.islice(left, _AT_A_TIME)):
        yield from round_trip(connection, some)


def _fields(entry: Any) -> dict[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {as_text(name): as_text(value) for name, value in pairs}
