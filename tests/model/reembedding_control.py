"""Decides what would be chance: where a new memory lands, what happens amid something, when attempts begin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from emendo_client.requests import jobs
from emendo_client.requests.operations import new_job_id, new_memory_id
from emendo_config.store import scripts


@contextlib.contextmanager
def landing_on(wanted: Sequence[int], shard_of: Callable[[str], int]) -> Iterator[None]:
    """New memories belong to these shards, one after another: an example must be able to fail twice the same way."""

    def chosen() -> str:
        while True:
            made = new_job_id()
            if [shard_of(new_memory_id(made, n)) for n in range(len(wanted))] == list(wanted):
                return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "new_job_id", chosen)
        yield


class _Watched:
    """A script that does something before each of its calls is built."""

    def __init__(self, real: Any, before: Callable[..., None]) -> None:
        self._real = real
        self._before = before

    def __call__(self, **arguments: Any) -> Any:
        self._before(**arguments)
        return self._real(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@contextlib.contextmanager
def attempts_told(began: Callable[[list[str]], None]) -> Iterator[None]:
    """Tells of the jobs whose attempts begin, those of one batch together."""

    def tell(*, records: Sequence[scripts.Attempt], **_: Any) -> None:
        began([each.job for each in records])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "start", _Watched(scripts.start, tell))
        yield


@contextlib.contextmanager
def meanwhile(script: str, act: Callable[[], None]) -> Iterator[None]:
    """Acts once, just before the block runs that script for the first time, or after the block when it does not."""
    has_acted = False

    def once(**_: Any) -> None:
        nonlocal has_acted
        if not has_acted:
            has_acted = True
            act()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, script, _Watched(getattr(scripts, script), once))
        yield
    once()
