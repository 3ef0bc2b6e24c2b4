"""Memories of earlier releases, whose tags lack what stands inside lists and objects, are found after housekeeping."""

from __future__ import annotations

import json

import pytest

from emendo_config.store import scripts
from emendo_workers.maintenance import metadata_tags
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.maintenance.metadata_tags import BETWEEN_TURNS, renew_tags
from tests.support.intake import added

METADATA = {"tags": ["a", "b"], "price": 1.0, "at": {"city": "Rome"}, "topic": "food"}
EARLIER_TAGS = 'price=1.0\x1ftopic="food"'
NOW = 1_800_000_000.0


@pytest.fixture
def earlier(services, client):
    """Three memories as the earlier release left them; one of them has a list and nothing else."""
    ids = [added(services, client, f"fact {n}", metadata=METADATA) for n in range(2)]
    ids.append(added(services, client, "fact 2", metadata={"tags": ["a"]}))
    for memory_id in ids[:2]:
        services.data.hset(services.keys.memory(memory_id), "metadata_tags", EARLIER_TAGS)
    services.data.hdel(services.keys.memory(ids[2]), "metadata_tags")
    return ids


def count(client, **metadata) -> int:
    return client.get_all(all_users=True, filters={"metadata": metadata}).total


def test_single_values_are_found_at_once(client, earlier):
    assert count(client, topic="food") == count(client, price=1) == count(client, price=1.0) == 2


def test_the_others_are_found_after_housekeeping(services, client, earlier):
    assert count(client, tags={"contains": "a"}) == count(client, **{"at.city": "Rome"}) == 0
    versions = [client.get(memory_id).version for memory_id in earlier]
    assert keep_house(services.store, services.notifier, NOW)["tagged"] == 3
    assert count(client, tags={"contains": "a"}) == count(client, tags="a") == count(client, tags={"exists": True}) == 3
    assert count(client, **{"at.city": "Rome"}) == count(client, price={"gte": 1}) == 2
    assert not any(client.diagnose(memory_id).wrong for memory_id in earlier)
    assert [client.get(memory_id).version for memory_id in earlier] == versions
    assert [len(client.history(memory_id)) for memory_id in earlier] == versions


def test_a_run_ends_in_time_and_the_next_one_goes_on(services, client, earlier, monkeypatch):
    monkeypatch.setattr(metadata_tags, "SECONDS", 0.0)
    monkeypatch.setattr(metadata_tags, "SCAN_COUNT", 1)
    runs = [renew_tags(services.store, NOW)]
    while services.control.hget(services.keys.housekeeping, "tags_turns") is None:
        runs.append(renew_tags(services.store, NOW))
        # A step of a scan looks at one place of Redis' table, which is full to an eighth at least.
        assert len(runs) < 16 * services.data.dbsize()
    assert sum(runs) == 3
    assert len(runs) > 1


def test_a_second_turn_a_day_later_is_the_last(services, client, earlier):
    key = services.keys.memory(earlier[0])
    assert renew_tags(services.store, NOW) == 3
    services.data.hset(key, "metadata_tags", EARLIER_TAGS)  # by a worker of the earlier release
    assert renew_tags(services.store, NOW + BETWEEN_TURNS - 1) == 0
    assert renew_tags(services.store, NOW + BETWEEN_TURNS) == 1
    services.data.hset(key, "metadata_tags", EARLIER_TAGS)
    assert renew_tags(services.store, NOW + 9 * BETWEEN_TURNS) == 0


def test_tags_of_metadata_that_changed_meanwhile_are_not_written(services, client, earlier):
    key = services.keys.memory(earlier[0])
    write = scripts.write_tags(memory=key, metadata=json.dumps({"old": 1}), tags="old=1")
    assert scripts.run(services.data, [write]) == [0]
    assert services.data.hget(key, "metadata_tags").decode() == EARLIER_TAGS


def test_damaged_metadata_stops_nobody(services, client, earlier):
    services.data.hset(services.keys.memory(earlier[0]), "metadata", "{")
    services.data.set(services.keys.memory("no-hash"), "x")
    assert renew_tags(services.store, NOW) == 2
