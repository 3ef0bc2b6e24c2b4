"""A damaged memory fails alone, wherever it is changed together with others, and can still be erased."""

from __future__ import annotations

import pytest

from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store.memory_fields import COMMIT_FIELD, SPACE_FIELD
from tests.integration.erasure.test_users import finished
from tests.support.erasing import OWNER, SECRET, assert_nothing_is_left, everything
from tests.support.intake import added, drain, drain_all, let_time_pass, with_settings

ERASABLE = [
    ("user_id", b"\xff"),
    ("memory", b"\xff"),
    ("metadata", b"{"),
    ("metadata", b"-1"),
    ("metadata", b"[]"),
    ("stamps", b'["a", 1, 1, {}]'),
    ("stamps", b'[1, 1, 1, {"k": "x"}]'),
    ("stamps", b"[1]"),
    ("stamps", b"[]]"),
    ("stamps", b'{"a": 1}'),
    ("created_at", b"\xff"),
]
# Nobody can tell whose it is, which version it has, or what the next commit would rest on.
UNKNOWN = [
    ("project", b"\xff"),
    ("version", b"x"),
    ("version", b"01"),
    ("version", b"\xff"),
    (COMMIT_FIELD, b"\xff"),
    (SPACE_FIELD, b"\xff"),
]


@pytest.mark.parametrize(("field", "value"), [*ERASABLE, *UNKNOWN], ids=repr)
def test_a_damaged_memory_fails_alone_in_its_chunk(services, client, field, value):
    with_settings(services, client, max_attempts=2)
    ids = [added(services, client, f"fact {n}") for n in range(5)]
    services.data.hset(services.keys.memory(ids[3]), field, value)
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    drain_all(services)
    assert [client.get(each).memory for each in ids[:3] + ids[4:]] == ["new"] * 4
    let_time_pass(services)
    drain_all(services)
    codes = [(item.error or {}).get("code") for item in job.wait(1).results]
    assert codes == [None] * 3 + ["RECORD_UNREADABLE", None]


@pytest.mark.parametrize("damaged", ["memory", "history"])
def test_a_memory_that_redis_refuses_fails_alone_in_its_chunk(services, client, damaged, openai_server):
    with_settings(services, client, max_attempts=2)
    ids = [added(services, client, f"fact {n}") for n in range(5)]
    key = getattr(services.keys, damaged)(ids[1])
    services.data.delete(key)
    services.data.set(key, "of another type", px=60_000)
    job = client.batch_update([{"memory_id": each, "text": f"new {each}"} for each in ids])
    openai_server.clear_requests()
    drain_all(services)
    texts = [text for request in openai_server.requests for text in request.inputs]
    assert len(texts) == len(set(texts)), "no text is paid for twice"
    let_time_pass(services)
    drain_all(services)
    codes = [(item.error or {}).get("code") for item in job.wait(1).results]
    assert codes == [None, "VECTOR_STORE", None, None, None]
    assert [entry.version for entry in client.history(ids[0])] == [1, 2]
    assert not services.data.exists(*map(services.keys.lock, ids))


def test_a_damaged_history_fails_the_one_that_needs_it(services, client):
    with_settings(services, client, max_attempts=1)
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    for each in ids:
        drain(services, client.update(each, "second"))
    history = services.keys.history(ids[1])
    entries = services.data.xrange(history)
    services.data.delete(history)
    for entry_id, entry in entries:
        services.data.xadd(history, {**entry, b"new_metadata": b"{"}, entry_id)
    job = client.batch_update(
        [{"memory_id": each, "text": "third", "expected_version": 1, "on_conflict": "manual"} for each in ids]
    )
    drain_all(services)
    assert [bool(item.error) for item in job.wait(1).results] == [False, True, False]


@pytest.mark.parametrize(("field", "value"), ERASABLE, ids=repr)
def test_a_damaged_memory_can_be_erased(services, client, field, value):
    memory_id = added(services, client, f"{SECRET} 1", user_id=OWNER, metadata={"k": SECRET})
    drain(services, client.update(memory_id, f"{SECRET} 2"))
    services.data.hset(services.keys.memory(memory_id), field, value)
    job = client.delete(memory_id, hard=True)
    drain(services, job)
    assert job.wait(1).status == "succeeded"
    assert_nothing_is_left(services, OWNER)
    assert client.diagnose(memory_id).erased
    drain(services, again := client.delete(memory_id, hard=True))
    assert again.wait(1).results[0].event is None


@pytest.mark.parametrize(("field", "value"), UNKNOWN, ids=repr)
def test_the_erasure_of_an_unknown_memory_ends(services, client, field, value):
    with_settings(services, client, max_attempts=1)
    memory_id = added(services, client)
    services.data.hset(services.keys.memory(memory_id), field, value)
    drain(services, job := client.delete(memory_id, hard=True))
    assert job.wait(1).error["code"] == "RECORD_UNREADABLE"


@pytest.mark.parametrize(("field", "value"), [("metadata", b"{"), ("id", b"\xff"), ("id", b"another")], ids=repr)
def test_a_user_is_erased_though_one_of_the_memories_is_damaged(services, client, field, value):
    ids = [added(services, client, f"{SECRET} {n}", user_id=OWNER) for n in range(3)]
    services.data.hset(services.keys.memory(ids[1]), field, value)
    assert finished(services, client.erase_user(OWNER)).results[0].erased["memories"] == 3
    assert_nothing_is_left(services, OWNER)


def test_what_deletes_a_scope_goes_by_the_keys_of_its_memories(services, client):
    theirs, kept = added(services, client, SECRET, user_id=OWNER), added(services, client, "of somebody else")
    services.data.hset(services.keys.memory(theirs), "id", kept)
    client.delete_all(OWNER, hard=True)
    drain_all(services)
    assert_nothing_is_left(services, OWNER)
    assert client.get(kept).memory == "of somebody else"


def test_a_memory_that_cannot_be_erased_is_told_and_keeps_no_other(services, client):
    ids = [added(services, client, f"{SECRET} {n}", user_id=OWNER) for n in range(3)]
    services.data.hset(services.keys.memory(ids[1]), "version", b"x")
    erased = finished(services, client.erase_user(OWNER)).results[0].erased
    assert (erased["memories"], erased["failed"]) == (2, 1)
    found = everything(services)
    assert [f"{SECRET} {n}" in found for n in range(3)] == [False, True, False]
    services.data.hset(services.keys.memory(ids[1]), "version", 1)
    assert finished(services, client.erase_user(OWNER)).results[0].erased["memories"] == 1
    assert_nothing_is_left(services, OWNER)


def test_an_effect_of_before_the_damage_is_still_reported(services, client, openai_server):
    """Its chunk was put aside for another item."""
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("unavailable", match="unlucky", times=100))
    job = client.batch_update([{"memory_id": ids[0], "text": "new"}, {"memory_id": ids[1], "text": "unlucky"}])
    drain_all(services)
    services.control.hdel(services.keys.job(f"{job.id}:0"), "settled")
    services.data.hset(services.keys.memory(ids[0]), "metadata", b"{")
    openai_server.faults.clear()
    let_time_pass(services)
    drain_all(services)
    assert [item.event for item in job.wait(1).results] == ["UPDATE", "UPDATE"]
