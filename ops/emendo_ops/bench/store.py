"""The measured store, and checks that measured updates really took effect."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from emendo_client._sync.client import MemoryClient
from emendo_client.errors import EmendoError
from emendo_config import Keys, Settings
from emendo_config.error_codes import ErrorCode
from emendo_config.store.pipeline import as_text, round_trip

_AT_A_TIME = 1_000


class MeasurementError(EmendoError):
    """A measured operation did not have its effect, so its figure would be false."""

    code = ErrorCode.MEASUREMENT


@dataclass(slots=True)
class Store:
    """A store with a running worker.

    Attributes:
        ids: the memories of the client's project that updates go to.
        data: a separate connection to the data Redis, for checks.
        provider_requests: counts the provider's requests so far; None if the provider cannot tell.
        latency_ms: the provider's latency, if known.
        worker_pid: process id of the worker, if there is exactly one.
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
            MeasurementError: a memory is missing.
        """
        found = {}
        replies = self._ask(("HGET", self.keys.memory(memory_id), "version") for memory_id in ids)
        for memory_id, version in zip(ids, replies, strict=True):
            if version is None:
                raise MeasurementError("a memory to measure with is not there", details={"memory_id": memory_id})
            found[memory_id] = int(version)
        return found

    def check(self, expected: dict[str, tuple[int, str | None]]) -> None:
        """Checks each memory's version, the length of its history, and its text if given.

        Raises:
            MeasurementError: a memory differs.
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
    """Yields the replies in order; commands are pipelined in groups."""
    left = iter(commands)
    while some := list(itertools.islice(left, _AT_A_TIME)):
        yield from round_trip(connection, some)


def _fields(entry: Any) -> dict[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {as_text(name): as_text(value) for name, value in pairs}
