"""Adds where the workers have no chat model: messages are facts, and what is known is not stored twice."""

from __future__ import annotations

from emendo_client import Job
from emendo_client.testing import Fault
from emendo_workers.inference import carry_out, planner
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from tests.support.deaths import dies_at_call
from tests.support.inferring import embeddings, leases_run_out, memories, told
from tests.support.intake import drain, drain_all, shard_of_job, with_settings


def decisions(job: Job) -> list[tuple[str | None, str | None]]:
    return [(item.decision, item.event) for item in job.wait(1).results]


def test_messages_are_stored_as_they_are_and_the_result_says_why(services, client):
    messages = [
        {"role": "system", "content": "You are a barista"},
        {"role": "user", "name": "Ana", "content": "I like tea"},
        {"role": "assistant", "content": "Noted"},
    ]
    result = told(services, client, messages, metadata={"k": 1})
    assert (result.status, result.degraded) == ("succeeded", True)
    assert "no chat model" in result.degraded_reason
    assert [(item.decision, item.event) for item in result.results] == [("ADD", "ADD")] * 2
    first = client.get(result.results[0].memory_id)
    assert (first.memory, first.actor_id, first.role, first.metadata) == ("I like tea", "Ana", "user", {"k": 1})
    assert memories(client) == ["I like tea", "Noted"]
    entry = client.history(first.id)[0]
    assert (entry.reason, entry.source, entry.prompt_version) == (None, None, None)
    assert services.control.hget(services.keys.usage, "degraded_jobs") == b"1"
    assert (result.usage.chat_requests, result.usage.embedding_requests, result.prompts) == (0, 1, {})


def test_what_is_known_word_for_word_or_nearly_is_not_stored_again(services, client):
    (known,) = told(services, client, "Ana works at Siemens as an engineer").results
    result = told(
        services,
        client,
        [
            {"role": "user", "content": text}
            for text in (
                "ana works at siemens as an engineer.",  # spelt otherwise
                "Ana works as an engineer at Siemens",  # the same words: as near as can be, to the tests' embedder
                "Ana works at Siemens",
            )
        ],
    )
    assert [(item.decision, item.memory_id == known.memory_id) for item in result.results] == [
        ("NONE", True),
        ("NONE", True),
        ("ADD", False),
    ]
    assert len(client.history(known.memory_id)) == 1


def test_the_threshold_is_a_setting(services, client):
    told(services, client, "Ana works at Siemens as an engineer")
    with_settings(services, client, inference_near_duplicate=0.5)
    (item,) = told(services, client, "Ana works at Siemens").results
    assert item.decision == "NONE"


def test_another_scope_knows_nothing_of_it(services, client):
    told(services, client, "I like tea")
    for scope in ({"user_id": "ben"}, {"user_id": "ana", "run_id": "r"}):
        assert told(services, client, "I like tea", **scope).results[0].event == "ADD"


def test_a_whole_batch_of_adds_is_one_embedding_request_and_knows_what_each_of_them_adds(
    services, client, openai_server
):
    with_settings(services, client, inference_shards=1)
    jobs = [client.add(f"fact of {user}", user_id=user) for user in ("ana", "ben", "ana")]
    assert Drain(services, shard_of_job(services, jobs[0])).run() == 3
    assert [decisions(job) for job in jobs] == [[("ADD", "ADD")], [("ADD", "ADD")], [("NONE", None)]]
    assert jobs[2].wait(1).results[0].memory_id == jobs[0].wait(1).results[0].memory_id
    assert [sorted(texts) for texts in embeddings(openai_server)] == [["fact of ana", "fact of ben"]]
    spent = [job.info().usage for job in jobs]
    assert sum(usage.embedding_requests for usage in spent if usage is not None) == 1


def test_a_fact_whose_first_teller_is_cancelled_is_the_second_ones(services, client, monkeypatch):
    """The second one was planned as known already."""
    with_settings(services, client, inference_shards=1)
    first, second = (client.add("I like tea", user_id="ana") for _ in range(2))
    real = planner.store_payloads

    def cancel_after_planning(store, payloads):
        stored = real(store, payloads)
        services.control.sadd(services.keys.cancelling, first.id)
        services.control.expire(services.keys.cancelling, 60)
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(planner, "store_payloads", cancel_after_planning)
        Drain(services, shard_of_job(services, first)).run()
    assert (first.status(), decisions(second)) == ("cancelled", [("ADD", "ADD")])
    assert second.wait(1).results[0].fallback is None, "no model was to be asked"
    assert memories(client) == ["I like tea"]


def test_one_job_of_a_batch_that_cannot_be_worked_holds_no_other_back(services, client, openai_server):
    with_settings(services, client, inference_shards=1)
    openai_server.faults.add(Fault("bad_request", times=100, match="unspeakable"))
    jobs = [client.add(text, user_id="ana") for text in ("I sing", "unspeakable", "I dance")]
    drain_all(services)
    assert [job.status() for job in jobs] == ["succeeded", "failed", "succeeded"]


def test_an_embedder_that_is_away_is_asked_again_later(services, client, openai_server):
    openai_server.faults.add(Fault("unavailable", times=3))
    job = client.add("I sing", user_id="ana")
    drain(services, job)
    assert (job.status(), job.info().attempts) == ("retrying", 1)
    services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
    Sweeper(services).sweep()
    drain_all(services)
    assert (job.status(), memories(client)) == ("succeeded", ["I sing"])


def test_a_worker_that_dies_after_planning_leaves_the_plan_to_the_next(services, client, openai_server):
    job = client.add("I sing", user_id="ana")
    with dies_at_call(carry_out, "apply_operations"):
        drain(services, job)
    leases_run_out(services)
    drain_all(services)
    assert (decisions(job), memories(client), job.info().degraded) == ([("ADD", "ADD")], ["I sing"], True)


def test_a_dry_run_needs_no_model(services, client):
    told(services, client, "I sing")
    result = told(services, client, [{"role": "user", "content": text} for text in ("I sing", "I dance")], dry_run=True)
    assert [(item.decision, item.memory) for item in result.results] == [("NONE", "I sing"), ("ADD", "I dance")]
    assert (result.degraded, memories(client)) == (True, ["I sing"])


def test_an_idempotency_key_makes_the_same_conversation_the_same_job(services, client):
    first = client.add("I sing", user_id="ana", idempotency_key="k")
    assert client.add("I sing", user_id="ana", idempotency_key="k").id == first.id
    drain_all(services)
    assert memories(client) == ["I sing"]


# Batches.


def items(count: int):
    return [{"messages": f"fact {number}", "user_id": f"user {number % 3}"} for number in range(count)]


def test_a_batch_infers_each_item_in_the_order_of_its_scope(services, client):
    job = client.batch_add([*items(9), {"messages": "fact 0", "user_id": "user 0"}])
    drain_all(services)
    result = job.wait(1)
    assert (result.status, result.degraded) == ("succeeded", True)
    assert [item.decision for item in result.results] == ["ADD"] * 9 + ["NONE"]
    assert result.results[9].memory_id == result.results[0].memory_id
    info = job.info()
    assert (info.items, info.done, info.chunks, job.progress().done) == (10, 10, 10, 10)
    assert memories(client, user_id="user 1") == ["fact 1", "fact 4", "fact 7"]


def test_a_refused_item_fails_in_its_place(services, client):
    job = client.batch_add([items(1)[0], {"messages": "no scope"}, {"messages": ["not a message"], "user_id": "ana"}])
    drain_all(services)
    assert job.wait(1).status == "partially_succeeded"
    assert [(item.error or {}).get("code") for item in job.wait(1).results] == [None, "VALIDATION", "VALIDATION"]


def test_a_conversation_of_several_facts_counts_as_many_items(services, client):
    messages = [{"role": "user", "content": f"fact {number}"} for number in range(3)]
    job = client.batch_add([{"messages": messages, "user_id": "ana"}, *items(1)])
    drain_all(services)
    assert (len(job.wait(1).results), job.info().items, job.info().done) == (4, 4, 4)
    ids = [item.memory_id for item in job.wait(1).results]
    assert len(set(ids)) == 4, "each has an id of its own"


def test_a_batch_that_is_cancelled_before_it_begins_changes_nothing(services, client):
    job = client.batch_add(items(4))
    services.control.hset(services.keys.job(job.id), "cancel", 1)
    drain_all(services)
    assert (job.status(), memories(client, user_id="user 0")) == ("cancelled", [])


def test_a_batch_whose_caller_broke_off_goes_on_under_its_key(services, client):
    first = client.batch_add(items(20), idempotency_key="k")
    assert client.batch_add(items(20), idempotency_key="k").id == first.id
    drain_all(services)
    assert (first.wait(1).status, first.info().items) == ("succeeded", 20)
    assert len(memories(client, user_id="user 0")) == 7
