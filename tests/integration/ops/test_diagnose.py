"""Damage done by hand in a real Redis is found, named, and repaired as the finding says."""

from __future__ import annotations

import json
import struct

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import MemoryNotFoundError, ValidationError, VectorStoreError
from emendo_client.exchanges import histories
from emendo_client.exchanges.diagnosis.read import diagnose
from emendo_client.exchanges.exchange import run
from tests.support.damage import (
    damage_vector,
    drop_entry,
    drop_field,
    drop_history,
    drop_vector,
    hash_of,
    leave_the_index,
    rename_vector,
    set_field,
    work,
)
from tests.support.intake import added, drain


@pytest.fixture
def memory_id(services, client):
    """A memory that was updated, deleted and restored, with metadata and an expiry."""
    memory_id = added(services, client, metadata={"topic": "food"}, expires_at="2100-01-01T00:00:00Z")
    work(services, client.update(memory_id, "I enjoy seafood, especially sushi.", {"sure": True}))
    work(services, client.delete(memory_id))
    work(services, client.restore(memory_id))
    return memory_id


def wrong(client, memory_id):
    return {finding.check.value for finding in client.diagnose(memory_id).wrong}


# How what the finding says is done.


def restore(services, client, memory_id):
    work(services, client.restore(memory_id, version=len(client.history(memory_id))))


def embed_again(services, client, memory_id):
    services.data.hdel(hash_of(services, memory_id), "embedding_space")
    restore(services, client, memory_id)


def write_tags(services, client, memory_id):
    work(services, client.update(memory_id, metadata={"again": 1}))
    work(services, client.update(memory_id, metadata={"again": None}))


def hset_expected(services, client, memory_id):
    (finding,) = client.diagnose(memory_id).wrong
    services.data.hset(hash_of(services, memory_id), finding.check.value, finding.expected)


def hset_version(services, client, memory_id):
    services.data.hset(hash_of(services, memory_id), "version", client.history(memory_id)[-1].version)


def remake_id(services, client, memory_id):
    services.data.hset(hash_of(services, memory_id), "id", memory_id)


@pytest.mark.parametrize(
    ("damage", "found", "remedy"),
    [
        (set_field("id", "somebody-else"), {"fields"}, remake_id),
        (drop_field("created_at"), {"fields"}, None),
        (set_field("hash", "0" * 64), {"text_hash"}, restore),
        (set_field("memory", "I was never told."), {"text_hash", "newest_text"}, restore),
        (leave_the_index, {"index"}, restore),
        (drop_vector, {"vector"}, embed_again),
        (rename_vector, {"vector"}, embed_again),
        (damage_vector(lambda vector: vector[:-4]), {"vector_length", "index"}, embed_again),
        (damage_vector(lambda vector: struct.pack("<f", float("nan")) + vector[4:]), {"vector_finite"}, embed_again),
        (set_field("embedding_model", "other"), {"embedding_model"}, embed_again),
        (set_field("embedding_space", "other"), {"embedding_space"}, restore),
        (drop_field("embedding_space"), {"embedding_space"}, restore),
        (set_field("metadata_tags", "topic=1"), {"metadata_tags"}, write_tags),
        (set_field("metadata", '{"topic": "art"}'), {"metadata_tags", "newest_metadata"}, restore),
        (set_field("expires_ms", "1"), {"expires_ms"}, hset_expected),
        (set_field("expires_ms", "soon"), {"expires_ms", "index"}, None),
        (drop_history, {"history"}, None),
        (drop_entry(1), {"history_versions"}, None),
        (set_field("version", "9"), {"history_end"}, hset_version),
        (set_field("is_deleted", "1"), {"newest_deleted"}, restore),
    ],
)
def test_damage_is_found_alone_and_the_remedy_repairs_it(  # noqa: PLR0917
    services, client, memory_id, damage, found, remedy
):
    assert wrong(client, memory_id) == set()
    damage(services, memory_id)
    assert wrong(client, memory_id) == found
    if remedy is not None:
        remedy(services, client, memory_id)
        assert wrong(client, memory_id) == set()
        assert client.get(memory_id).memory == "I enjoy seafood, especially sushi."


def test_a_history_of_another_type_is_named(services, client, memory_id):
    drop_history(services, memory_id)
    services.data.set(services.keys.history(memory_id), "no stream", px=60_000)
    (finding,) = client.diagnose(memory_id).wrong
    assert (finding.check.value, finding.found) == ("history", "a key of type string")
    assert client.history(memory_id) == []


def test_a_deleted_memory_and_a_late_update_are_fine(services, client, memory_id):
    late = client.update(memory_id, "I only eat plants.", {"topic": "plants"})
    delete = client.delete(memory_id)
    record = services.keys.job(late.id)
    services.control.hset(record, "submitted", int(services.control.hget(record, "submitted")) - 10_000_000)
    drain(services, late)
    drain(services, delete)
    diagnosis = client.diagnose(memory_id)
    assert [entry.event.value for entry in client.history(memory_id)][-2:] == ["SUPERSEDED", "DELETE"]
    assert (diagnosis.ok, diagnosis.is_deleted, diagnosis.version) == (True, True, 6)


def erase(services, memory_id):
    """Leaves the tombstone of a memory that was deleted for good."""
    key, history = hash_of(services, memory_id), services.keys.history(memory_id)
    keep = {b"id", b"project", b"version", b"created_at", b"updated_at", b"is_deleted"}
    services.data.hdel(key, *(name for name in services.data.hkeys(key) if name not in keep))
    services.data.hset(key, mapping={"erased": "1", "is_deleted": "1"})
    entries = services.data.xrange(history)
    services.data.delete(history)
    told = {b"old_memory", b"new_memory", b"old_metadata", b"new_metadata", b"previous_hash"}
    for _, raw in entries:
        services.data.xadd(history, {name: value for name, value in raw.items() if name not in told})


def test_an_erased_memory_is_right_until_something_of_it_is_left(services, client, memory_id):
    erase(services, memory_id)
    assert (client.diagnose(memory_id).erased, wrong(client, memory_id)) == (True, set())
    set_field("user_id", "ana")(services, memory_id)
    assert wrong(client, memory_id) == {"erased"}


def test_a_memory_of_another_project_is_refused(services, client, memory_id):
    with MemoryClient(services.settings, project="other") as stranger, pytest.raises(MemoryNotFoundError):
        stranger.diagnose(memory_id)
    with pytest.raises(MemoryNotFoundError):
        client.diagnose("no-such-memory")
    with pytest.raises(ValidationError):
        client.diagnose("not an id")


def test_without_an_index_the_error_says_so(emendo_settings):
    with MemoryClient(emendo_settings) as client, pytest.raises(VectorStoreError, match="index does not exist yet"):
        client.diagnose("m")


async def test_the_async_client_finds_the_same(services, client, memory_id):
    set_field("hash", "0" * 64)(services, memory_id)
    async with AsyncMemoryClient(services.settings) as twin:
        assert await twin.diagnose(memory_id) == client.diagnose(memory_id)
        with pytest.raises(MemoryNotFoundError):
            await twin.diagnose("no-such-memory")


# While others write.


@pytest.mark.parametrize("page", [200, 2], ids=["one page", "many pages"])
def test_a_write_between_any_two_commands_is_no_damage(services, client, memory_id, monkeypatch, page):
    """Sends a round trip's commands one by one, with a commit after each: what is read holds together."""
    client.diagnose(memory_id)  # loads the scripts
    client.history(memory_id)
    monkeypatch.setattr(histories, "PAGE", page)
    commands = 0

    def send(command):
        nonlocal commands
        commands += 1
        reply = services.data.execute_command(*command)
        work(services, client.update(memory_id, f"text {commands}", {"number": commands}))
        return reply

    found = run(
        {"data": lambda batch: [send(command) for command in batch]},
        diagnose(services.settings, services.keys, "default", memory_id),
    )
    assert commands >= (2 if page > commands else 10)
    assert found.wrong == []
    assert found.version < client.get(memory_id).version


def test_the_command_shows_the_findings_and_fails_when_one_is_wrong(cli, services, memory_id):
    code, out, _ = cli(services.settings, "diagnose", memory_id)
    assert code == 0
    assert "wrong" not in out
    code, out, _ = cli(services.settings, "diagnose", memory_id, "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    set_field("expires_ms", "1")(services, memory_id)
    code, out, _ = cli(services.settings, "diagnose", memory_id, "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["memory_id"]) == (1, False, memory_id)
    (finding,) = [finding for finding in document["findings"] if not finding["ok"]]
    assert (finding["check"], finding["found"], finding["expected"]) == ("expires_ms", "1", "4102444800000")
    code, out, _ = cli(services.settings, "diagnose", memory_id)
    assert (code, "wrong" in out) == (1, True)
    code, _, err = cli(services.settings, "diagnose", "no-such-memory", "--json")
    assert (code, json.loads(err)["code"]) == (1, "MEMORY_NOT_FOUND")
