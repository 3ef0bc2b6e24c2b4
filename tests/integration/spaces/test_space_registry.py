"""A store's registry and what starts against it: the first space, another registered one, an unregistered one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import ConfigurationError
from emendo_client.testing.worker import WorkerProcess
from emendo_config.celery_app import create_app
from emendo_config.spaces.bootstrap import ensure_index, indexed_space, restore_indexes
from emendo_config.spaces.registry import SpaceState, read_registry, remove_space, save_space
from emendo_workers.services import Services
from tests.support.patience import PATIENCE
from tests.support.spaces import SMALL, assert_right, open_space, own_space, switch

LIVE = replace(SMALL, state=SpaceState.LIVE)


def naming(settings, space):
    return settings.model_copy(
        update={"embedding_model": space.space.model, "embedding_dimensions": space.space.dimensions}
    )


def test_the_first_worker_registers_the_settings_space_and_no_later_one(services, emendo_settings):
    assert read_registry(services.data, services.keys) == (own_space(services),)
    assert ensure_index(services.data, emendo_settings) == own_space(services)
    assert read_registry(services.data, services.keys) == (own_space(services),)


def test_a_worker_that_starts_changes_nothing_that_is_registered(services, emendo_settings):
    changed = replace(own_space(services), algorithm="hnsw")
    save_space(services.data, services.keys, changed)
    assert ensure_index(services.data, emendo_settings) == changed


def test_nor_does_one_with_other_settings_while_the_index_is_lost(services, emendo_settings):
    services.data.execute_command("FT.DROPINDEX", services.keys.index(own_space(services).name))
    with pytest.raises(ConfigurationError, match="settings ask for"):
        ensure_index(services.data, naming(emendo_settings, SMALL))
    assert read_registry(services.data, services.keys) == (own_space(services),)


def test_a_store_of_a_release_without_a_registry_gets_one(services, emendo_settings):
    services.data.delete(services.keys.spaces)
    with MemoryClient(emendo_settings) as client:
        assert client.search("anything", user_id="ana") == [], "clients may be newer than the workers"
    assert ensure_index(services.data, emendo_settings) == own_space(services)
    assert read_registry(services.data, services.keys) == (own_space(services),)


def test_other_settings_never_register_their_space_beside_it(services, emendo_settings):
    services.data.delete(services.keys.spaces)
    with pytest.raises(ConfigurationError, match=r"is indexed by openai_text_embedding_3_small_64_1 \(64 dim"):
        ensure_index(services.data, naming(emendo_settings, SMALL))
    assert read_registry(services.data, services.keys) == ()


def test_settings_that_name_another_registered_space_start_with_a_warning(services, emendo_settings, caplog):
    open_space(services, LIVE)
    other = Services(naming(emendo_settings, LIVE), create_app(emendo_settings))
    try:
        other.start()
    finally:
        other.stop()
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (warning.active, warning.settings) == (own_space(services).name, replace(LIVE.space, generation=1).name)


def test_settings_that_name_the_active_space_of_a_later_generation_start_without(services, emendo_settings, caplog):
    space = open_space(services, LIVE)
    switch(services, space)
    other = Services(naming(emendo_settings, LIVE), create_app(emendo_settings))
    try:
        other.start()
    finally:
        other.stop()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_settings_that_name_an_unregistered_space_are_refused(services, emendo_settings):
    with pytest.raises(
        ConfigurationError, match=r"settings ask for openai_text_embedding_3_large_32_1.*emendo reembed"
    ):
        ensure_index(services.data, naming(emendo_settings, SMALL))
    assert read_registry(services.data, services.keys) == (own_space(services),)
    assert indexed_space(services.data, services.keys) == (own_space(services).field, 64)


def test_a_space_that_is_being_dropped_counts_as_unregistered(services, emendo_settings):
    save_space(services.data, services.keys, replace(SMALL, state=SpaceState.DROPPING))
    with pytest.raises(ConfigurationError, match="settings ask for"):
        ensure_index(services.data, naming(emendo_settings, SMALL))


def test_lost_indexes_come_back_with_the_alias_on_the_newest_complete_space(services, emendo_settings):
    open_space(services, LIVE)
    filling = open_space(services, replace(SMALL, space=replace(SMALL.space, generation=3)))
    for space in (own_space(services), LIVE, filling):
        services.data.execute_command("FT.DROPINDEX", services.keys.index(space.name))
    assert restore_indexes(services.data, emendo_settings) == LIVE
    names = {name.decode() for name in services.data.execute_command("FT._LIST")}
    assert {services.keys.index(space.name) for space in (own_space(services), LIVE, filling)} <= names


def test_running_workers_whose_settings_name_a_space_that_is_gone_still_bring_the_index_back(services, emendo_settings):
    open_space(services, LIVE)
    remove_space(services.data, services.keys, own_space(services).name)
    services.data.execute_command("FT.DROPINDEX", services.keys.index(own_space(services).name))
    assert restore_indexes(services.data, emendo_settings) == LIVE


def test_an_index_of_another_name_behind_the_alias_is_left_alone(services, emendo_settings):
    own, name = own_space(services), services.keys.index("by_hand")
    schema = ("ON", "HASH", "PREFIX", 1, services.keys.memory_prefix, "SCHEMA", own.field, "VECTOR", "FLAT", 6)
    services.data.execute_command(
        "FT.CREATE", name, *schema, *("TYPE", "FLOAT32", "DIM", own.space.dimensions, "DISTANCE_METRIC", "COSINE")
    )
    services.data.execute_command("FT.ALIASUPDATE", services.keys.index_alias, name)
    services.data.execute_command("FT.DROPINDEX", services.keys.index(own.name))
    assert ensure_index(services.data, emendo_settings) == own
    assert services.keys.index(own.name).encode() not in services.data.execute_command("FT._LIST")


@pytest.mark.slow
def test_a_worker_with_the_settings_of_before_writes_both_spaces(services, emendo_settings, tmp_path):
    """A real worker, started after the switch with settings nobody has changed yet."""
    space = open_space(services, LIVE)
    switch(services, space)
    log = tmp_path / "worker.log"
    with WorkerProcess(emendo_settings, log), MemoryClient(emendo_settings) as client:
        memory_id = client.add("I like rowing.", user_id="ana", infer=False).wait(PATIENCE).results[0].memory_id
        assert_right(services, memory_id, own_space(services), space)
        assert [hit.id for hit in client.search("rowing", user_id="ana")] == [memory_id]
    assert "the settings name another embedding space" in log.read_text(encoding="utf-8")


def test_doctor_says_which_space_is_searched(services, emendo_settings, cli):
    space = open_space(services, LIVE)

    def findings():
        _, out, _ = cli(emendo_settings, "doctor", "--json")
        return {finding["check"]: finding for finding in json.loads(out)}

    found = findings()
    assert found["index"]["state"] == "ok"
    assert found["spaces"]["found"] == f"{own_space(services).name} (live), {space.name} (live)"

    switch(services, space)
    found = findings()["index"]
    assert (found["state"], space.name in found["found"]) == ("warn", True)
    assert "EMENDO_EMBEDDING_MODEL=text-embedding-3-large" in found["mend"]

    remove_space(services.data, services.keys, own_space(services).name)
    found = findings()["index"]
    assert (found["state"], "emendo reembed" in found["mend"]) == ("fail", True)

    services.data.hset(services.keys.spaces, space.name, "{}")
    assert findings()["index"]["state"] == "fail"
