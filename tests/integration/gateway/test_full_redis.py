"""A gateway whose Redis has reached maxmemory: callers read and erase, keys are checked and revoked."""

from __future__ import annotations

import pytest

from emendo_client.testing.fixtures import settings_for
from emendo_config import Keys
from emendo_config.store.connections import connect_async
from emendo_gateway.keys import records
from emendo_gateway.rates import Rates
from tests.support.gateway import browser, make_key, on_control
from tests.support.intake import added, drain_all

# Below what any Redis uses.
NO_ROOM = 1_000_000


@pytest.fixture
def settings(redis_alone, openai_server):
    return settings_for(redis_alone.url, openai_server.base_url, broker_url=redis_alone.url)


@pytest.fixture
def full(services):
    """Sets the limit, when it is called."""
    yield lambda: services.control.config_set("maxmemory", NO_ROOM)
    services.control.config_set("maxmemory", 0)


def test_a_full_redis_serves_readers_and_erasures_and_refuses_what_takes_memory(services, client, full):
    memory_id = added(services, client)
    key, _ = make_key(services.settings, project=client.project, scope="write")
    with browser(services.settings, requests_per_minute=1_000) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        address = f"/api/v1/memories/{memory_id}"
        full()
        assert http.get(address).status_code == 200
        refused = http.patch(address, json={"text": "no"})
        assert (refused.status_code, refused.json()["code"]) == (503, "OUT_OF_MEMORY")
        assert http.delete(address, params={"hard": True}).status_code == 202
        drain_all(services)
        assert http.get(address).status_code == 404


def test_a_full_redis_lets_nobody_in_and_keys_are_revoked(services, client, full):
    key, record = make_key(services.settings, project=client.project, scope="write")
    with browser(services.settings) as http:
        full()
        assert http.get("/api/v1/memories/x", headers={"Authorization": "Bearer em_wrong"}).status_code == 401
        on_control(services.settings, records.revoke(Keys(services.settings.key_prefix), record.id))
        assert http.get("/api/v1/memories/x", headers={"Authorization": f"Bearer {key}"}).status_code == 401


async def test_a_full_redis_counts_nothing_and_keeps_the_limits(services, full, caplog):
    async with connect_async(services.settings.control_url, services.settings) as connection:
        rates = Rates(connection, services.keys)
        for _ in range(2):
            await rates.count("requests", "many", 2)
        await rates.count("requests", "few", 2)
        full()
        many, few = await rates.count("requests", "many", 2), await rates.count("requests", "few", 2)
        assert (many.is_within, many.remaining, many.is_counted) == (False, 0, False)
        assert (few.is_within, few.remaining, few.is_counted) == (True, 1, False)
        assert 0 < many.reset <= 60
        await rates.give_back("requests", "many", 2)
    assert "stays counted" in caplog.text
