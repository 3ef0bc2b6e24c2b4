"""Fields that a newer release added: workers and clients ignore them, and keep them in what they write again."""

from __future__ import annotations

import json

import pytest

from emendo_client.errors import ConfigurationError
from emendo_client.exchanges.diagnosis.models import Check
from emendo_client.testing import Fault
from emendo_config.spaces.registry import read_registry
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.inferring import memories, told, with_chat
from tests.support.intake import added, drain, drain_all, let_time_pass, shard_of_job, with_settings
from tests.support.migrating import work_until, worked
from tests.support.newer_release import (
    ADDED,
    change_hash,
    change_history,
    change_inbox,
    change_payload,
    change_registry,
    payload_of,
    with_more,
)


def in_memory(services, memory_id, job):
    change_hash(services.data, services.keys.memory(memory_id))


def in_write_times(services, memory_id, job):
    times = json.loads(services.data.hget(services.keys.memory(memory_id), "stamps"))
    services.data.hset(services.keys.memory(memory_id), "stamps", json.dumps([*times, {"later": 1}]))


def in_history(services, memory_id, job):
    change_history(services, memory_id)


def in_registry(services, memory_id, job):
    change_registry(services, **ADDED)


def in_record(services, memory_id, job):
    change_hash(services.control, services.keys.job(job.id))


def in_inbox(services, memory_id, job):
    change_inbox(services, shard_of_job(services, job))


def in_payload(services, memory_id, job):
    change_payload(services, job.id, head=ADDED, operation={})


def in_operation(services, memory_id, job):
    change_payload(services, job.id, head={}, operation=ADDED)


def in_stated_formats(services, memory_id, job):
    change_registry(services, format=1)
    change_payload(services, job.id, head={"format": 1}, operation={})
    services.control.hset(services.keys.job(job.id), "format", 1)


def in_other_hashes(services, memory_id, job):
    keys = services.keys
    change_hash(services.data, keys.conflict(memory_id))
    for name in (keys.project("default"), keys.usage, keys.housekeeping):
        change_hash(services.control, name)
    for name in (keys.breaker("openai"), keys.rate_limit("openai")):
        change_hash(services.control, name)
        services.control.expire(name, 60)
    fault = {"code": "POISON", "message": "m", "queues": [], **ADDED}
    services.control.hset(keys.worker_faults, "other", json.dumps(fault))
    services.control.expire(keys.worker_faults, 60)
    services.control.zadd(keys.workers, {"other": services.store.control_time() * 1_000})


@pytest.mark.parametrize(
    "add",
    [
        in_memory,
        in_write_times,
        in_history,
        in_registry,
        in_record,
        in_inbox,
        in_payload,
        in_operation,
        in_stated_formats,
        in_other_hashes,
    ],
)
def test_unknown_fields_are_ignored_by_workers_and_clients(services, client, add):
    memory_id = added(services, client)
    job = client.update(memory_id, "I enjoy seafood.", {"topic": "food"})
    add(services, memory_id, job)
    assert drain_all(services) == 1
    assert job.wait(1).status == "succeeded"
    assert (job.info().attempts, client.jobs()[0].job_id) == (1, job.id)
    Sweeper(services).sweep()
    keep_house(services.store, services.notifier, services.store.control_time())
    assert services.faults._faults == {}
    memory = client.get(memory_id)
    assert (memory.memory, memory.metadata, memory.version) == ("I enjoy seafood.", {"topic": "food"}, 2)
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]
    assert [hit.id for hit in client.search("seafood", user_id="ana")] == [memory_id]
    assert client.project_rules().categories == []
    assert client.health().redis
    assert client.diagnose(memory_id).ok
    assert drain(services, client.delete(memory_id)) == 1
    assert drain(services, client.restore(memory_id, version=1)) == 1
    assert client.get(memory_id).memory == "I dislike seafood."


def test_a_batch_with_unknown_fields_is_counted_and_read_whole(services, client, openai_server):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    requests = services.embedding.requests
    requests._settings = services.settings.model_copy(update={"embedding_max_inputs": 1, "embedding_quick_retries": 0})
    openai_server.faults.add(Fault("unavailable", times=100, match="new 1"))
    job = client.batch_update([{"memory_id": each, "text": f"new {n}"} for n, each in enumerate(ids)])
    for record_id in (job.id, f"{job.id}:0", f"{job.id}:1"):
        change_hash(services.control, services.keys.job(record_id))
    for record_id in (f"{job.id}:0", f"{job.id}:1"):
        change_payload(services, record_id, head=ADDED, operation=ADDED)
    drain_all(services)
    record = services.keys.job(f"{job.id}:0")
    settled = json.loads(services.control.hget(record, "settled"))
    services.control.hset(record, "settled", json.dumps([item and {**item, **ADDED} for item in settled]))
    payload = payload_of(services, f"{job.id}:0")
    assert payload.items() >= ADDED.items(), "it was written again, without the text that is settled"
    assert [ADDED.keys() <= each.keys() for each in payload["operations"]] == [False, True]
    openai_server.faults.clear()
    let_time_pass(services)
    drain_all(services)
    result = job.wait(1)
    assert [(item.event, item.version) for item in result.results] == [("UPDATE", 2)] * 3
    assert job.progress().done == 3


def test_a_dead_letter_with_unknown_fields_is_read_and_replayed(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=1, match="sorry"))
    job = client.update(memory_id, "sorry")
    change_payload(services, job.id, head=ADDED, operation=ADDED)
    change_hash(services.control, services.keys.job(job.id))
    drain(services, job)
    (letter,) = client.dead_letters(memory_id=memory_id)
    assert letter == client.dead_letter(job.id)
    assert letter.payload[0].items() >= {"text": "sorry", **ADDED}.items(), "nothing of it is lost"
    client.replay(job.id)
    assert payload_of(services, job.id).items() >= ADDED.items()
    drain(services, job)
    assert job.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "sorry"


def test_unknown_fields_of_an_erased_memory_go_with_it(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=1, match="sorry"))
    job = client.update(memory_id, "sorry")
    change_payload(services, job.id, head={}, operation={"summary": "a secret"})
    change_hash(services.data, services.keys.memory(memory_id))
    change_history(services, memory_id)
    drain(services, job)
    assert len(client.dead_letters()) == 1
    assert drain(services, client.delete(memory_id, hard=True)) == 1
    assert "a secret" not in json.dumps(payload_of(services, job.id)), "it may be content"
    assert not services.data.hexists(services.keys.memory(memory_id), "later")
    entries = services.data.xrange(services.keys.history(memory_id))
    assert not any(b"later" in fields for _, fields in entries)


def test_the_steps_of_erasing_a_user_keep_unknown_fields(services, client, monkeypatch):
    monkeypatch.setattr("emendo_workers.user_erasure.run._ATTEMPT", -1.0)  # every step is put aside
    added(services, client)
    job = client.erase_user("ana")
    change_payload(services, job.id, head=ADDED, operation=ADDED)
    drain_all(services)
    assert job.status() == "retrying"
    payload = payload_of(services, job.id)
    assert (payload.items() >= ADDED.items(), payload["operations"][0].items() >= ADDED.items()) == (True, True)
    monkeypatch.undo()
    assert worked(services, job).results[0].erased["memories"] == 1


@pytest.mark.slow  # a whole re-embedding
def test_a_re_embedding_ignores_unknown_fields_and_keeps_them(services, client):
    added(services, client)
    job = client.reembed(dimensions=32)
    change_payload(services, job.id, head=ADDED, operation=ADDED)
    change_registry(services, **ADDED)
    change_hash(services.control, services.keys.migration)
    work_until(services, lambda: client.migration().phase == "backfill")
    record = services.control.hget(services.keys.migration, "record")
    services.control.hset(services.keys.migration, "record", with_more(record))
    plan = services.control.hget(services.keys.migration, "plan")
    services.control.hset(services.keys.migration, "plan", with_more(plan))
    change_registry(services, **ADDED)
    assert worked(services, job).status == "succeeded"
    assert client.migration().plan is not None
    stored = [json.loads(text) for text in services.data.hgetall(services.keys.spaces).values()]
    assert [each["state"] for each in stored] == ["live", "live"]
    assert all(each.items() >= ADDED.items() for each in stored), "the registry was written again"
    assert len(read_registry(services.data, services.keys)) == 2
    finalized = client.finalize_reembed()
    work_until(services, lambda: finalized.status().is_final)
    assert len(read_registry(services.data, services.keys)) == 1


class TestInference:
    @pytest.fixture
    def settings(self, emendo_settings, openai_server):
        return with_chat(emendo_settings, openai_server)

    def test_a_conversation_and_its_plan_are_carried_out(self, services, client, model, openai_server):
        told(services, client, "I like tea.")
        model.updates("I like coffee.", "I like tea.")
        openai_server.faults.add(Fault("unavailable", times=100, match="coffee", endpoint="embeddings"))
        job = client.add("I like coffee. I sing.", user_id="ana")
        change_payload(services, job.id, head=ADDED, operation=ADDED)
        drain_all(services)
        assert payload_of(services, job.id).items() >= ADDED.items(), "the facts are stored beside them"
        change_payload(services, job.id, head={}, operation=ADDED)
        openai_server.faults.clear()
        let_time_pass(services)
        drain_all(services)
        assert job.wait(1).status == "succeeded"
        assert memories(client) == ["I like coffee.", "I sing."]


def test_an_unknown_kind_of_change_in_a_history_asks_for_an_upgrade(services, client):
    memory_id = added(services, client)
    services.data.xadd(services.keys.history(memory_id), {"event": "MERGE", "version": 2}, id="2-0")
    with pytest.raises(ConfigurationError) as caught:
        client.history(memory_id)
    assert (caught.value.error_code, "upgrade" in caught.value.suggestion) == ("RELEASE_TOO_OLD", True)
    assert Check.HISTORY in [finding.check for finding in client.diagnose(memory_id).wrong]
