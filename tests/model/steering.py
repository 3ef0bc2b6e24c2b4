"""What would be chance: where a new memory lands, what happens in the middle of something, when attempts begin."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from emendo_client.operations import new_memory_id
from emendo_workers import scripts


@contextlib.contextmanager
def landing_on(wanted: Sequence[int], shard_of: Callable[[str], int]) -> Iterator[None]:
    """New memories belong to these shards, one after another: an example must be able to fail twice the same way."""
    real = uuid.uuid4

    def uuid4() -> uuid.UUID:
        while True:
            made = real()
            if [shard_of(new_memory_id(str(made), n)) for n in range(len(wanted))] == list(wanted):
                return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", uuid4)
        yield


@contextlib.contextmanager
def attempts_told(began: Callable[[list[str]], None]) -> Iterator[None]:
    """Tells of the jobs whose attempts begin, those of one batch together."""
    start = scripts.start

    def told(records: Sequence[tuple[str, str]], *more: Any) -> Any:
        began([job for _, job in records])
        return start(records, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "start", told)
        yield


@contextlib.contextmanager
def meanwhile(script: str, act: Callable[[], None]) -> Iterator[None]:
    """Acts once, just before the block runs that script for the first time, or after the block when it does not."""
    real, has_acted = getattr(scripts, script), False

    def once() -> None:
        nonlocal has_acted
        if not has_acted:
            has_acted = True
            act()

    def asked(*given: Any, **more: Any) -> Any:
        once()
        return real(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, script, asked)
        yield
    once()
