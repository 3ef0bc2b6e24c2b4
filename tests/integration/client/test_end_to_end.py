"""Client → Redis → Celery worker process → provider over HTTP → memory, history, search."""

from __future__ import annotations

import json

import pytest

from emendo_client import AsyncMemoryClient, Event, MemoryClient
from emendo_client.errors import (
    ConflictError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    MemoryNotFoundError,
    NetworkError,
    ValidationError,
)
from emendo_client.testing.openai_server.vectors import embed
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings
from tests.support.patience import PATIENCE


def added(client: MemoryClient, text: str, user_id: str = "ana", **more) -> str:
    result = client.add(text, user_id=user_id, infer=False, **more).wait(raise_on_failure=True)
    return result.results[0].memory_id


def test_each_message_becomes_one_memory_in_one_provider_request(emendo_client, openai_server):
    messages = [
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": "I dislike seafood.", "name": "ana-phone"},
        {"role": "assistant", "content": "明白了 👩‍👩‍👧‍👦, no fish."},
    ]
    job = emendo_client.add(messages, user_id="ana", agent_id="chef", metadata={"topic": "food"}, infer=False)
    result = job.wait()
    assert result.status == "succeeded"
    assert [item.event for item in result.results] == [Event.ADD, Event.ADD]
    (request,) = openai_server.requests
    assert request.inputs == ["I dislike seafood.", "明白了 👩‍👩‍👧‍👦, no fish."]
    first = emendo_client.get(result.results[0].memory_id)
    assert (first.memory, first.role, first.actor_id) == ("I dislike seafood.", "user", "ana-phone")
    assert (first.user_id, first.agent_id, first.run_id) == ("ana", "chef", None)
    assert (first.metadata, first.version, first.is_deleted) == ({"topic": "food"}, 1, False)
    assert first.created_at == first.updated_at == result.submitted_at


def test_an_update_replaces_the_text_and_the_history_keeps_the_old_one(emendo_client):
    memory_id = added(emendo_client, "I dislike seafood.")
    result = emendo_client.update(memory_id, "I enjoy seafood, especially sushi.", actor_id="ana").wait()
    (item,) = result.results
    assert (item.event, item.version) == (Event.UPDATE, 2)
    assert (item.previous_memory, item.memory) == ("I dislike seafood.", "I enjoy seafood, especially sushi.")
    first, second = emendo_client.history(memory_id)
    assert (first.event, first.old_memory, first.new_memory) == (Event.ADD, None, "I dislike seafood.")
    assert (second.event, second.old_memory) == (Event.UPDATE, "I dislike seafood.")
    assert second.new_memory == emendo_client.get(memory_id).memory == "I enjoy seafood, especially sushi."
    assert second.job_id == result.job_id
    assert second.actor_id == "ana"


def test_metadata_only_and_same_text_updates_ask_the_provider_nothing(emendo_client, openai_server):
    memory_id = added(emendo_client, "I live in Lisbon.", metadata={"city": "Lisbon", "old": 1})
    openai_server.clear_requests()
    emendo_client.update(memory_id, metadata={"city": "Porto", "old": None}).wait(raise_on_failure=True)
    emendo_client.update(memory_id, "I live in Lisbon.").wait(raise_on_failure=True)
    emendo_client.delete(memory_id).wait(raise_on_failure=True)
    emendo_client.restore(memory_id).wait(raise_on_failure=True)
    assert openai_server.requests == []
    memory = emendo_client.get(memory_id)
    assert (memory.metadata, memory.version) == ({"city": "Porto"}, 5)


def test_a_deleted_memory_is_hidden_everywhere_and_restored_whole(emendo_client):
    memory_id = added(emendo_client, "My birthday is June 15th, 1990.")
    assert emendo_client.delete(memory_id).wait().results[0].event == Event.DELETE
    with pytest.raises(MemoryNotFoundError):
        emendo_client.get(memory_id)
    assert emendo_client.get_all(user_id="ana").results == []
    assert emendo_client.search("birthday", user_id="ana") == []
    assert emendo_client.get(memory_id, include_deleted=True).is_deleted is True
    failed = emendo_client.update(memory_id, "zombie").wait()
    assert (failed.status, failed.error["type"]) == ("failed", "MemoryNotFoundError")
    emendo_client.restore(memory_id).wait(raise_on_failure=True)
    assert emendo_client.get(memory_id).memory == "My birthday is June 15th, 1990."
    assert [hit.id for hit in emendo_client.search("birthday", user_id="ana")] == [memory_id]
    assert [entry.event for entry in emendo_client.history(memory_id)] == [Event.ADD, Event.DELETE, Event.RESTORE]


def test_restore_to_a_version_brings_text_metadata_and_vector_back(emendo_client, emendo_worker):
    memory_id = added(emendo_client, "I work at the harbour.", metadata={"job": "crane"})
    emendo_client.update(memory_id, "I work at the airport.", {"job": "tower", "new": True}).wait(raise_on_failure=True)
    emendo_client.restore(memory_id, version=1).wait(raise_on_failure=True)
    memory = emendo_client.get(memory_id)
    assert (memory.memory, memory.metadata, memory.version) == ("I work at the harbour.", {"job": "crane"}, 3)
    assert stored_vector(emendo_client, emendo_worker, memory_id) == expected_vector(emendo_worker, memory.memory)
    refused = emendo_client.restore(memory_id, version=9).wait()
    assert refused.error["code"] == "NO_SUCH_VERSION"


def test_search_finds_by_meaning_within_the_scope_only(emendo_client):
    sushi = added(emendo_client, "I enjoy seafood, especially sushi.")
    added(emendo_client, "My sister plays the violin.")
    added(emendo_client, "I enjoy seafood, especially sushi.", user_id="ben")
    hits = emendo_client.search("which seafood do I enjoy", user_id="ana")
    assert hits[0].id == sushi
    assert {hit.user_id for hit in hits} == {"ana"}
    assert hits[0].score > hits[1].score
    everyone = emendo_client.search("which seafood do I enjoy", all_users=True, limit=2)
    assert {hit.user_id for hit in everyone} == {"ana", "ben"}


def test_get_all_pages_newest_first_and_filters(emendo_client):
    ids = [added(emendo_client, f"fact {n}", metadata={"parity": n % 2}) for n in range(5)]
    page = emendo_client.get_all(user_id="ana", page=1, page_size=2)
    assert ([memory.id for memory in page.results], page.total, page.has_next) == (ids[:2:-1], 5, True)
    last = emendo_client.get_all(user_id="ana", page=3, page_size=2)
    assert ([memory.id for memory in last.results], last.has_next) == (ids[:1], False)
    odd = emendo_client.get_all(user_id="ana", filters={"metadata": {"parity": 1}})
    assert {memory.id for memory in odd.results} == {ids[1], ids[3]}


def test_redis_holds_exactly_the_documented_layout(emendo_client, emendo_worker):
    memory_id = added(emendo_client, "I live in Lisbon.", metadata={"city": "Lisbon"})
    keys, data = Keys(emendo_worker.key_prefix), emendo_client._connections.data
    stored = data.hgetall(keys.memory(memory_id))
    fields = {name.decode(): value for name, value in stored.items()}
    vector = fields.pop(emendo_worker.space.field)
    assert vector == expected_vector(emendo_worker, "I live in Lisbon.")
    assert fields["id"].decode() == memory_id
    assert fields["project"].decode() == emendo_client.project
    assert json.loads(fields["metadata"]) == {"city": "Lisbon"}
    assert fields["version"] == b"1"
    assert fields["is_deleted"] == b"0"
    assert fields["created_at"].decode().endswith("+00:00")
    assert len(fields["created_at"].decode().split(".")[1]) == len("123456+00:00")
    ((_, entry),) = data.xrange(keys.history(memory_id))
    assert (entry[b"event"], entry[b"new_memory"], entry[b"version"]) == (b"ADD", b"I live in Lisbon.", b"1")
    query = ("@project:{$p} @user_id:{ana}", "PARAMS", 2, "p", emendo_client.project, "NOCONTENT", "DIALECT", 2)
    assert data.execute_command("FT.SEARCH", keys.index_alias, *query) == [1, keys.memory(memory_id).encode()]
    assert data.ttl(keys.job(emendo_client.jobs(limit=1)[0].job_id)) > 0


def test_expected_version_lets_one_writer_win(emendo_client):
    memory_id = added(emendo_client, "one")
    assert emendo_client.update(memory_id, "two", expected_version=1).wait().status == "succeeded"
    late = emendo_client.update(memory_id, "three", expected_version=1)
    with pytest.raises(JobFailedError) as failure:
        late.wait(raise_on_failure=True)
    error = failure.value.details["result"]["error"]
    assert error["type"] == "ConflictError"
    assert error["details"] == {"expected_version": 1, "current_version": 2}
    assert emendo_client.get(memory_id).memory == "two"


def test_an_idempotency_key_gives_the_first_job_and_refuses_another_request(emendo_client):
    first = emendo_client.add("hello", user_id="ana", infer=False, idempotency_key="k1")
    again = emendo_client.add("hello", user_id="ana", infer=False, idempotency_key="k1")
    assert again.id == first.id
    with pytest.raises(ConflictError) as conflict:
        emendo_client.add("other", user_id="ana", infer=False, idempotency_key="k1")
    assert conflict.value.details == {"job_id": first.id}
    first.wait(raise_on_failure=True)
    assert emendo_client.get_all(user_id="ana").total == 1


def test_strong_consistency_returns_after_the_commit_and_weak_keeps_no_record(emendo_client):
    memory_id = added(emendo_client, "one")
    emendo_client.update(memory_id, "two", consistency="strong")
    assert emendo_client.get(memory_id).memory == "two"
    weak = emendo_client.update(memory_id, "three", consistency="weak")
    emendo_client.update(memory_id, metadata={"after": True}, consistency="strong")
    assert emendo_client.get(memory_id).memory == "three"
    with pytest.raises(JobNotFoundError):
        weak.info()


def test_without_a_chat_model_add_stores_messages_and_says_so(emendo_client):
    result = emendo_client.add("hello", user_id="ana").wait()
    assert result.degraded is True
    assert "chat model" in result.degraded_reason


def test_jobs_are_listed_and_unknown_ones_refused(emendo_client):
    memory_id = added(emendo_client, "one")
    update = emendo_client.update(memory_id, "two")
    update.wait(raise_on_failure=True)
    assert [info.kind for info in emendo_client.jobs()] == ["update", "add"]
    assert emendo_client.job(update.id).status() == "succeeded"
    assert emendo_client.jobs(status="failed") == []
    with pytest.raises(JobNotFoundError):
        emendo_client.job("4be1e1a2-0000-4000-8000-000000000000")


def test_bad_input_leaves_the_store_unchanged(emendo_client):
    memory_id = added(emendo_client, "one")
    before = emendo_client.jobs()
    for bad in (
        lambda: emendo_client.update(memory_id),
        lambda: emendo_client.update(memory_id, "  "),
        lambda: emendo_client.update(memory_id, "x" * 40_000),
        lambda: emendo_client.update(memory_id, "lone \ud800 surrogate"),
        lambda: emendo_client.update("a b{c}", "text"),
        lambda: emendo_client.add("text", metadata={"user_id": "ben"}, user_id="ana"),
        lambda: emendo_client.add("text"),
        lambda: emendo_client.search("text"),
        emendo_client.get_all,
    ):
        with pytest.raises(ValidationError):
            bad()
    assert emendo_client.jobs() == before
    assert emendo_client.get(memory_id).version == 1


def test_another_project_sees_and_changes_nothing(emendo_client, emendo_worker):
    memory_id = added(emendo_client, "secret")
    job_id = emendo_client.jobs()[0].job_id
    with MemoryClient(emendo_worker, project="other-project") as other:
        for read in (lambda: other.get(memory_id), lambda: other.history(memory_id)):
            with pytest.raises(MemoryNotFoundError):
                read()
        with pytest.raises(JobNotFoundError):
            other.job(job_id)
        assert other.get_all(user_id="ana").total == 0
        assert other.search("secret", all_users=True) == []
        for write in (other.update(memory_id, "stolen"), other.delete(memory_id), other.restore(memory_id)):
            assert write.wait().error["type"] == "MemoryNotFoundError"
    assert emendo_client.get(memory_id).version == 1


@pytest.mark.parametrize(
    "hostile", ["u1|u2", "*", "} @user_id:{*", "a,b", "a\\|b", "\\", "'\"", "$p0", "a b", "-", "日本", "{a}", "u1\\"]
)
def test_hostile_scope_ids_find_their_own_memories_only(emendo_client, hostile):
    mine = added(emendo_client, "mine", user_id=hostile)
    for other in ("u1", "u2", "a", "b"):
        added(emendo_client, f"{other}'s", user_id=other)
    assert [memory.id for memory in emendo_client.get_all(user_id=hostile).results] == [mine]
    assert [hit.id for hit in emendo_client.search("mine", user_id=hostile)] == [mine]


def test_an_unreachable_redis_is_a_network_error_in_time(emendo_worker):
    away = emendo_worker.model_copy(
        update={"redis_url": "redis://127.0.0.1:1/0", "control_url": "redis://127.0.0.1:1/0"}
    )
    with MemoryClient(away) as client, pytest.raises(NetworkError):
        client.update("some-memory", "text")


def test_an_unreachable_broker_does_not_lose_a_job(emendo_client, emendo_worker):
    memory_id = added(emendo_client, "one")
    away = emendo_worker.model_copy(update={"broker_url": "redis://127.0.0.1:1/1"})
    with MemoryClient(away, project=emendo_client.project) as client:
        job = client.update(memory_id, "two")
        assert job.wait(PATIENCE).status == "succeeded", "the sweeper must ring for it"


def test_waiting_for_a_job_nobody_works_times_out(emendo_settings):
    with MemoryClient(emendo_settings) as client:
        job = client.add("hello", user_id="ana", infer=False)
        with pytest.raises(JobTimeoutError):
            job.wait(0.2)
        assert job.cancel() is True


def test_health_counts_workers(emendo_client):
    health = emendo_client.health()
    assert (health.ok, health.workers) == (True, 1)


async def test_the_async_client_does_the_same(emendo_worker: Settings, openai_server):
    async with AsyncMemoryClient(emendo_worker, project="async-project") as client:
        added_job = await client.add("I dislike seafood.", user_id="ana", infer=False)
        memory_id = (await added_job.wait()).results[0].memory_id
        updated = await client.update(memory_id, "I enjoy seafood.")
        assert (await updated.wait()).status == "succeeded"
        assert (await client.get(memory_id)).memory == "I enjoy seafood."
        assert (await client.search("seafood", user_id="ana"))[0].id == memory_id
        assert [entry.version for entry in await client.history(memory_id)] == [1, 2]
        assert (await client.get_all(user_id="ana")).total == 1
        assert await updated.cancel() is False
        await (await client.delete(memory_id)).wait(raise_on_failure=True)
        with pytest.raises(MemoryNotFoundError):
            await client.get(memory_id)
        assert (await client.health()).ok


def stored_vector(client: MemoryClient, settings: Settings, memory_id: str) -> bytes:
    return client._connections.data.hget(Keys(settings.key_prefix).memory(memory_id), settings.space.field)


def expected_vector(settings: Settings, text: str) -> bytes:
    return embed(text, model=settings.embedding_model, dimensions=settings.embedding_dimensions)


@pytest.mark.slow
def test_a_worker_with_another_dimension_refuses_to_start(emendo_worker, tmp_path):
    other = emendo_worker.model_copy(update={"embedding_dimensions": 128})
    with pytest.raises(RuntimeError, match="set EMENDO_EMBEDDING_DIMENSIONS back"):
        WorkerProcess(other, tmp_path / "worker.log").start()
