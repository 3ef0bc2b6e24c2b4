"""How long an update takes until a search shows it, at a rate the system is not busy with."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from emendo_client.bench.store import MeasurementError, Store
from emendo_client.bench.updates import text_of
from emendo_client.filters import scoped

_PAUSE = 0.001  # seconds between two looks: what the figure may be too high by, at most, on average half of it
_TIMEOUT = 60.0


@dataclass(slots=True)
class _Watch:
    """Updates that were called and not yet seen."""

    open: dict[str, float] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def visible_after(store: Store, ids: Sequence[str], rate: float, tag: str) -> list[float]:
    """Seconds from each `client.update` call until a search finds the new version, the provider's latency taken off.

    Each update gives a new text and a metadata tag nobody had before. The look is an FT.SEARCH through the alias for
    that tag: Redis puts all fields of a hash into the index together, so once the tag is found, so is the vector.
    An exact tag costs the server some ten microseconds, a vector search over everything would be load of its own.
    No update can be visible before the provider has answered, so nothing is looked for before that.

    Args:
        ids: each is updated once.
        rate: calls a second, at even distances.

    Raises:
        MeasurementError: one was not visible within a minute.
    """
    watch = _Watch()
    over = threading.Event()
    looking = threading.Thread(target=_look, args=(store, watch, over, tag), name="bench-looking")
    looking.start()
    try:
        began = time.perf_counter()
        for number, memory_id in enumerate(ids):
            wait = began + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            called = time.perf_counter()
            store.client.update(memory_id, text_of(memory_id, tag), {"probe": f"{tag}-{memory_id}"})
            with watch.lock:
                watch.open[memory_id] = called
    finally:
        over.set()
        looking.join()
    if watch.open:
        raise MeasurementError(f"{len(watch.open)} updates were not visible after {_TIMEOUT:.0f} s")
    latency = store.latency_ms / 1_000
    return [seconds - latency for seconds in watch.seen]


def _look(store: Store, watch: _Watch, over: threading.Event, tag: str) -> None:
    deadline = float("inf")
    earliest = store.latency_ms / 1_000
    while not over.is_set() or watch.open:
        if over.is_set():
            deadline = min(deadline, time.perf_counter() + _TIMEOUT)
        now = time.perf_counter()
        if now > deadline:
            return
        with watch.lock:
            due = [(memory_id, called) for memory_id, called in watch.open.items() if now - called >= earliest]
        for memory_id, called in due:
            if _is_visible(store, memory_id, tag):
                watch.seen.append(time.perf_counter() - called)
                with watch.lock:
                    del watch.open[memory_id]
        time.sleep(_PAUSE)


def _is_visible(store: Store, memory_id: str, tag: str) -> bool:
    wanted = scoped(
        store.client.project, None, None, None, {"metadata": {"probe": f"{tag}-{memory_id}"}}, all_users=True
    )
    reply = store.data.execute_command(
        *("FT.SEARCH", store.keys.index_alias, wanted.expression),
        *("PARAMS", len(wanted.parameters), *wanted.parameters),
        *("LIMIT", 0, 0, "DIALECT", 2),
    )
    return bool(reply[0])
