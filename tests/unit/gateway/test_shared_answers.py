"""One check of Redis serves all who ask, and nobody waits for the next one while the last is recent."""

from __future__ import annotations

import asyncio

import pytest

from emendo_gateway.shared_answers import Shared


class Finder:
    """Answers 1, 2, 3, …, each when it is allowed to."""

    def __init__(self) -> None:
        self.asked = 0
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def find(self) -> int:
        self.asked += 1
        await self.allowed.wait()
        return self.asked


async def test_all_who_ask_at_once_share_an_answer():
    finder = Finder()
    shared = Shared(finder.find, 60.0)
    assert await asyncio.gather(*(shared.get() for _ in range(100))) == [1] * 100
    assert await shared.get() == 1


async def test_the_last_answer_is_given_while_the_next_is_looked_for():
    finder = Finder()
    shared = Shared(finder.find, 0.0, oldest=60.0)
    assert await shared.get() == 1
    finder.allowed.clear()
    assert [await shared.get() for _ in range(100)] == [1] * 100
    finder.allowed.set()
    assert shared._finding is not None
    await shared._finding
    assert await shared.get() == 2


async def test_an_answer_that_is_too_old_is_given_to_nobody():
    finder = Finder()
    shared = Shared(finder.find, 0.0)
    assert [await shared.get() for _ in range(3)] == [1, 2, 3]


async def test_a_failure_is_told_and_not_kept():
    finder = Finder()
    failures = [OSError("no network"), None]

    async def find() -> int:
        failure = failures.pop(0)
        if failure is not None:
            raise failure
        return await finder.find()

    shared = Shared(find, 0.0, oldest=60.0)
    with pytest.raises(OSError, match="no network"):
        await shared.get()
    assert await shared.get() == 1
