"""Requests of a key in a minute: each has a place of its own, over all gateways, also if a client goes away."""

from __future__ import annotations

import asyncio

import pytest

from emendo_client.errors import NetworkError
from emendo_config import Keys
from emendo_config.store.connections import connect_async
from emendo_gateway.rates import Rates
from tests.support.patience import PATIENCE


async def test_requests_of_one_moment_have_each_a_place_and_share_round_trips(emendo_settings):
    keys = Keys(emendo_settings.key_prefix)
    async with (
        connect_async(emendo_settings.control_url, emendo_settings) as one,
        connect_async(emendo_settings.control_url, emendo_settings) as other,
    ):
        gateways = [Rates(one, keys), Rates(other, keys)]
        before = (await one.info("commandstats")).get("cmdstat_incrby", {"calls": 0})["calls"]
        used = await asyncio.gather(*(gateways[number % 2].count("requests", "key", 150) for number in range(200)))
        asked = (await one.info("commandstats"))["cmdstat_incrby"]["calls"] - before
    within = [each.remaining for each in used if each.is_within]
    assert sorted(within) == list(range(150)), "two requests had one place, or a place was given to none"
    assert asked <= 4, "each request was counted by itself"


async def test_a_window_ends_at_one_time_for_all_gateways(emendo_settings):
    keys = Keys(emendo_settings.key_prefix)
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:
        one, other = Rates(connection, keys), Rates(connection, keys)
        first, second = await one.count("requests", "key", 9), await one.count("requests", "key", 9)
        third, fourth = await other.count("requests", "key", 9), await other.count("requests", "key", 9)
        assert (first.reset, fourth.remaining) == (60.0, 5)
        assert 60.0 > second.reset > 0
        assert 60.0 >= third.reset > fourth.reset > 0


@pytest.mark.parametrize(("when", "left"), [("before", [9, 8, 7, 6]), ("meanwhile", [8, 7, 6, 5])])
async def test_a_request_whose_client_goes_away_keeps_nobody_from_being_counted(emendo_settings, when, left):
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:
        rates = Rates(connection, Keys(emendo_settings.key_prefix))
        first, *others = [asyncio.ensure_future(rates.count("requests", "key", 10)) for _ in range(5)]
        count = rates._storage.incr

        async def counted(*given):
            first.cancel()
            return await count(*given)

        if when == "meanwhile":
            rates._storage.incr = counted
        await asyncio.sleep(0)
        if when == "before":
            first.cancel()
        used = await asyncio.gather(*others)
    assert [each.remaining for each in used] == left


async def test_a_count_that_is_ended_leaves_nobody_waiting(emendo_settings, monkeypatch):
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:
        rates = Rates(connection, Keys(emendo_settings.key_prefix))
        asked = [asyncio.ensure_future(rates.count("requests", "key", 10)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in list(rates._counting):
            await asyncio.sleep(0)
            task.cancel()
        async with asyncio.timeout(PATIENCE):
            ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
        monkeypatch.setattr("emendo_gateway.rates._MOST_KNOWN", 3)
        for number in range(9):
            await rates.count("requests", f"key {number}", 10)
        assert len(rates._ends) <= 3


async def test_an_error_is_told_to_each_request_that_was_to_be_counted(emendo_settings):
    keys = Keys(emendo_settings.key_prefix)
    gone = emendo_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with connect_async(gone.redis_url, gone) as connection:
        rates = Rates(connection, keys)
        found = await asyncio.gather(*(rates.count("requests", "key", 10) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found] == [NetworkError] * 5
