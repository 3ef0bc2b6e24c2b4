"""The events of a stream: each state once, also if it was read twice."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from emendo_client.models import JobStatus, Progress
from emendo_gateway.native.streams import events


class States:
    """A follower that is given these states."""

    def __init__(self, *states: Progress) -> None:
        self._left = list(states)

    async def next(self) -> Progress:
        return self._left.pop(0)


def state(status: JobStatus, done: int) -> Progress:
    return Progress(status=status, done=done, total=2)


def told(last: str | None, *states: Progress) -> list[str]:
    async def read() -> list[str]:
        stream = events(nullcontext(States(*states)), last, lambda: asyncio.sleep(0, result=True))
        return [part.decode().partition("id: ")[2].split()[0] async for part in stream]

    return asyncio.run(read())


def test_a_state_is_told_once():
    running, ended = state(JobStatus.RUNNING, 1), state(JobStatus.SUCCEEDED, 2)
    assert told(None, running, running, ended) == ["running.1", "succeeded.2"]
    assert told("running.1", running, running, ended) == ["succeeded.2"]


def test_a_state_that_comes_back_is_told_again():
    running, retrying, ended = state(JobStatus.RUNNING, 1), state(JobStatus.RETRYING, 1), state(JobStatus.SUCCEEDED, 2)
    assert told(None, running, retrying, running, ended) == ["running.1", "retrying.1", "running.1", "succeeded.2"]
