"""Installations in one Redis, one's key prefix the beginning of the other's, see nothing of each other."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace

import pytest
from redisvl.index import SearchIndex

from emendo_client import MemoryClient
from emendo_config import Keys
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.index import index_schema
from emendo_config.spaces.indexes import create_index, described, drop_index
from emendo_config.spaces.registry import SpaceState, save_space
from emendo_config.spaces.replacement import replace_open_indexes
from emendo_config.store import scripts
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance import project_lists
from tests.support.inferring import started
from tests.support.intake import added, drain_all
from tests.support.migrating import indexes
from tests.support.spaces import SMALL, own_space, switch

LIVE_SMALL = replace(SMALL, state=SpaceState.LIVE)


@pytest.fixture(params=["memory", "memory-two:", "memory:", "memoryé'\\*?[x]:"])
def neighbour(request, settings):
    """The services of another installation, whose prefix begins like a key of the first one."""
    made = started(settings.model_copy(update={"key_prefix": settings.key_prefix + request.param}))
    yield made
    prefix = made.settings.key_prefix
    names = [name for name in made.data.scan_iter(count=1_000) if name.decode(errors="replace").startswith(prefix)]
    made.data.delete(*names)
    made.stop()


def told(services, text):
    with MemoryClient(services.settings) as client:
        return added(services, client, text)


def texts(client):
    return {memory.memory for memory in client.get_all(user_id="ana").results}


def index_of_an_earlier_release(services, record=None):
    """The index as earlier releases made it: the old name, and an open prefix."""
    record, keys = record or own_space(services), services.keys
    schema = index_schema(keys, record)
    schema["index"] |= {"name": keys.open_index(record.name), "prefix": keys.memory_prefix.removesuffix(":{")}
    SearchIndex.from_dict(schema, redis_client=services.data).create()
    return keys.open_index(record.name)


def go_back_to_an_earlier_release(services):
    name = index_of_an_earlier_release(services)
    services.data.execute_command("FT.ALIASUPDATE", services.keys.index_alias, name)
    drop_index(services.data, services.keys.index(own_space(services).name))
    wait_until_filled(services, name)


def wait_until_filled(services, name):
    pause = threading.Event()
    while described(services.data, name).is_filling:
        pause.wait(0.01)


def replaced(services):
    """Takes the steps of a worker until none is left."""
    pause = threading.Event()
    settings, alias = services.settings, services.keys.index_alias
    while not replace_open_indexes(services.data, settings, described(services.data, alias)):
        pause.wait(0.01)


def test_neither_finds_the_others_memories(services, client, neighbour):
    told(services, "mine")
    told(neighbour, "theirs")
    with MemoryClient(neighbour.settings) as their_client:
        assert (texts(client), texts(their_client)) == ({"mine"}, {"theirs"})
        assert [hit.memory for hit in client.search("theirs", user_id="ana")] == ["mine"]
        assert [hit.memory for hit in their_client.search("mine", user_id="ana")] == ["theirs"]


def test_doctor_counts_foreign_memories_and_mends_while_searches_go_on(services, client, neighbour, cli):
    mine = {f"mine {number}" for number in range(40)}
    for text in mine:
        client.add(text, user_id="ana", infer=False)
    drain_all(services)
    told(neighbour, "theirs")
    go_back_to_an_earlier_release(services)
    assert texts(client) == mine | {"theirs"}, "the index of the earlier release has no such fault"

    code, out, _ = cli(services.settings, "doctor", "--json")
    (finding,) = [each for each in json.loads(out) if each["check"] == "foreign memories"]
    assert (code, finding["state"]) == (1, "fail")
    assert re.search(r"; [1-9]\d* keys of other installations", finding["found"])
    assert "emendo doctor --repair" in finding["mend"]

    over, seen = threading.Event(), []

    def look_all_the_time():
        with MemoryClient(services.settings) as looking:
            while not over.is_set():
                seen.append(texts(looking))

    looker = threading.Thread(target=look_all_the_time)
    looker.start()
    try:
        _, out, _ = cli(services.settings, "doctor", "--repair", "--json")
    finally:
        over.set()
        looker.join()
    assert "foreign memories" not in {each["check"] for each in json.loads(out)}
    assert texts(client) == mine
    assert all(found >= mine for found in seen), "a memory was missing meanwhile"
    space = own_space(services).name
    there = {name for name in indexes(services) if name.startswith(services.keys.index("")[:-2])}
    assert there == {services.keys.index(space)}


def test_doctor_that_cannot_repair_says_why_and_examines_all_the_same(settings, cli):
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    code, out, err = cli(away, "doctor", "--repair", "--json")
    assert (code, "not repaired: Redis cannot be reached" in err) == (1, True)
    assert "redis" in {finding["check"] for finding in json.loads(out) if finding["state"] == "fail"}


def test_a_worker_that_starts_replaces_the_index(services, client, settings):
    told(services, "mine")
    go_back_to_an_earlier_release(services)
    assert ensure_index(services.data, settings) == own_space(services)
    replaced(services)
    assert indexes(services) == {services.keys.index(own_space(services).name)}
    assert texts(client) == {"mine"}


def test_a_worker_that_runs_replaces_it_too(services, client):
    told(services, "mine")
    go_back_to_an_earlier_release(services)
    sweeper, pause = Sweeper(services), threading.Event()
    while services.keys.open_index(own_space(services).name) in indexes(services):
        sweeper._index_checked = float("-inf")
        sweeper.sweep()
        pause.wait(0.01)
    assert indexes(services) == {services.keys.index(own_space(services).name)}
    assert texts(client) == {"mine"}


def test_an_index_that_a_worker_of_an_earlier_release_makes_is_dropped_again(services):
    """Such a worker makes the indexes of the spaces that are not active."""
    save_space(services.data, services.keys, LIVE_SMALL)
    create_index(services.data, services.keys, LIVE_SMALL)
    index_of_an_earlier_release(services, LIVE_SMALL)
    replaced(services)
    assert indexes(services) == {services.keys.index(each.name) for each in (own_space(services), LIVE_SMALL)}


def test_the_alias_is_not_moved_from_a_third_index(services):
    create_index(services.data, services.keys, LIVE_SMALL)
    mine, other = (services.keys.index(each.name) for each in (own_space(services), LIVE_SMALL))

    def moved(current, wanted):
        command = scripts.move_alias(alias=services.keys.index_alias, current=current, wanted=wanted)
        return scripts.move_alias.reply(scripts.run(services.data, [command])[0])

    assert moved(mine, other)
    assert moved(mine, other), "the answer to the first was lost"
    assert not moved("a third", mine)
    assert described(services.data, services.keys.index_alias).name == other
    switch(services, own_space(services))


def test_an_index_gets_the_fields_that_it_lacks(services, client, settings):
    told(services, "mine")
    schema = index_schema(services.keys, own_space(services))
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in {"role", "created_at"}]
    drop_index(services.data, services.keys.index(own_space(services).name))
    SearchIndex.from_dict(schema, redis_client=services.data).create()
    ensure_index(services.data, settings)
    behind = described(services.data, services.keys.index_alias)
    assert {"role", "created_at"} <= behind.fields
    wait_until_filled(services, behind.name)
    assert [memory.memory for memory in client.get_all(user_id="ana", filters={"role": "user"}).results] == ["mine"]


def test_no_memory_hash_of_a_neighbour_is_scanned(services, neighbour):
    told(neighbour, "theirs")
    assert list(services.data.scan_iter(match=services.keys.memory_pattern, count=1_000)) == []


@pytest.mark.parametrize("kind", ["jobs", "conflicts"])
def test_housekeeping_leaves_a_neighbours_lists_alone(services, kind):
    """The neighbour's list of the project p is named like this installation's list of a project jobs:p."""
    other = Keys(f"{services.settings.key_prefix}{kind}:")
    control, theirs = services.control, getattr(other, kind)("p")
    control.zadd(theirs, {"theirs": 1})
    control.set(other.clock, 1)
    control.zadd(services.keys.jobs("a:b"), {"gone": 1})
    project_lists.find_projects(services.store)
    project_lists.tidy_lists(services.store, 2)
    assert control.zrange(theirs, 0, -1) == [b"theirs"]
    assert not control.exists(services.keys.jobs("a:b"))
    control.delete(other.clock, theirs)


def test_doctor_warns_of_a_prefix_within_the_keys_of_another(services, cli):
    inside = f"{services.settings.key_prefix}jobs:"
    schema = ("ON", "HASH", "PREFIX", 1, f"{inside}memory:{{", "SCHEMA", "id", "TAG")
    services.data.execute_command("FT.CREATE", Keys(inside).index("s"), *schema)
    _, out, _ = cli(services.settings, "doctor", "--json")
    (finding,) = [each for each in json.loads(out) if each["check"] == "key prefix"]
    assert finding["state"] == "warn"
    assert inside in finding["found"]


def test_an_index_of_a_neighbour_is_no_index_of_this_installation(services, client):
    inside = Keys(f"{services.settings.key_prefix}index:")
    schema = ("ON", "HASH", "PREFIX", 1, inside.memory_prefix, "SCHEMA", "id", "TAG")
    services.data.execute_command("FT.CREATE", inside.index("s"), *schema)
    assert client.health().index
    drop_index(services.data, services.keys.index(own_space(services).name))
    assert not client.health().index
