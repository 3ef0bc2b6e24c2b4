"""Requests begin some at a time, in their order, and what is ready beside them is not kept waiting."""

from __future__ import annotations

import asyncio
import itertools

from emendo_gateway.admission.envelope import Envelope
from emendo_gateway.admission.turns import BEGIN_AT_ONCE, Turns


async def begun_in_each_turn(turns: Turns, requests: int, looks: int) -> list[int]:
    """How many of the requests have begun at each look, where a look comes in each turn of the loop."""
    begun: list[int] = []

    async def request(number: int) -> None:
        await turns.take()
        begun.append(number)

    tasks = [asyncio.ensure_future(request(number)) for number in range(requests)]
    seen = []
    for _ in range(looks):
        await asyncio.sleep(0)
        seen.append(len(begun))
    await asyncio.gather(*tasks)
    assert begun == list(range(requests)), "a request overtook another one"
    return seen


async def test_not_more_begin_in_a_turn_than_may():
    seen = await begun_in_each_turn(Turns(3), 30, 10)
    assert seen[0] == 3
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 3
    assert seen[-1] < 30, "all of them began before a tenth look"


async def test_few_requests_begin_at_once_however_many_began_before():
    turns = Turns(3)
    for _ in range(5):
        assert await begun_in_each_turn(turns, 3, 1) == [3]
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_client_that_went_away_takes_nobodys_turn():
    turns = Turns(1)
    first, gone, last = [asyncio.ensure_future(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    for _ in range(2):
        await asyncio.sleep(0)
    assert last.done(), "a turn passed in which nobody began"
    await first


async def test_health_begins_at_once_and_other_requests_in_turns():
    begun: list[str] = []

    async def app(scope, receive, send):
        begun.append(scope["path"])

    envelope = Envelope(app, lambda _: None)
    paths = ["/api/v1/memories"] * (BEGIN_AT_ONCE + 5) + ["/health/live"]
    scopes = [{"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []} for path in paths]
    tasks = [asyncio.ensure_future(envelope(scope, None, None)) for scope in scopes]
    await asyncio.sleep(0)
    assert begun == ["/api/v1/memories"] * BEGIN_AT_ONCE + ["/health/live"]
    await asyncio.gather(*tasks)


async def test_nothing_runs_in_the_loop_when_no_request_comes():
    turns = Turns(2)
    await turns.take()
    for _ in range(5):
        await asyncio.sleep(0)
    assert turns._is_counting is False
