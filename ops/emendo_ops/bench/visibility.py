"""The time from an update until a search shows it, at a rate that leaves the system mostly idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from emendo_client.requests.filters import scoped
from emendo_config.store.clock import seconds_of
from emendo_ops.bench.store import MeasurementError, Store
from emendo_ops.bench.updates import text_of

_PAUSE = 0.001  # seconds between two polls: the greatest error of a figure
_TIMEOUT = 60.0


@dataclass(slots=True)
class _Watch:
    """Updates that no search has shown yet, and the seconds of those that were shown."""

    open: dict[str, float] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def visible_after(store: Store, ids: Sequence[str], rate: float, tag: str) -> list[float]:
    """Seconds from each `client.update` call until a search finds the new version, without the provider's latency.

    Each update sets a new text and a unique metadata tag, and an FT.SEARCH through the alias polls for that tag.
    Redis indexes all fields of a hash together, so once the tag is found, the vector is found too. A tag costs the
    server some ten microseconds; a vector search would be load by itself. No update can be visible before the provider
    has answered, so polling starts then.

    Args:
        ids: each memory is updated once.
        rate: calls a second, evenly spaced.

    Raises:
        MeasurementError: an update was not visible within a minute.
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
    began = seconds_of(store.data.time())
    while not over.is_set() or watch.open:
        if over.is_set():
            deadline = min(deadline, time.perf_counter() + _TIMEOUT)
        now = time.perf_counter()
        if now > deadline:
            return
        with watch.lock:
            due = [(memory_id, called) for memory_id, called in watch.open.items() if now - called >= earliest]
        for memory_id, called in due:
            if _is_visible(store, memory_id, tag, began):
                watch.seen.append(time.perf_counter() - called)
                with watch.lock:
                    del watch.open[memory_id]
        time.sleep(_PAUSE)


def _is_visible(store: Store, memory_id: str, tag: str, began: float) -> bool:
    wanted = scoped(
        store.client.project, None, None, None, {"metadata": {"probe": f"{tag}-{memory_id}"}}, all_users=True
    )
    reply = store.data.execute_command(
        *("FT.SEARCH", store.keys.index_alias, wanted.expression(began)),
        *("PARAMS", len(wanted.parameters), *wanted.parameters),
        *("LIMIT", 0, 0, "DIALECT", 2),
    )
    return bool(reply[0])
