"""A chat model, or an embedder, that fails: tried again, dead-lettered, replayed; and adds that are cancelled."""

from __future__ import annotations

import json

import pytest

from emendo_client.exchanges import jobs
from emendo_client.providers.chat.base import PROVIDER
from emendo_client.testing import Fault, Limits, Reply
from emendo_client.testing.openai_server.too_long import SERVERS
from emendo_workers.intake.sweeper import Sweeper
from tests.support.inferring import DECIDE, EXTRACT, embeddings, memories, told, with_chat
from tests.support.intake import bring_back, drain, drain_all, let_time_pass, shard_of_job, with_settings


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server, chat_timeout=2.0)


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "timeout", "server_error"])
def test_a_model_that_is_away_is_asked_again_later_and_no_fact_is_lost(services, client, model, openai_server, kind):
    job = client.add("I sing", user_id="ana")
    openai_server.faults.add(Fault(kind, endpoint="chat", retry_after=0.1, silence=3))
    drain(services, job)
    info = job.info()
    assert (info.status, info.attempts, info.results) == ("retrying", 1, [])
    assert services.control.exists(*services.control.keys(f"{services.settings.key_prefix}scope-lock:*") or ["-"]) == 0
    bring_back(services, job)
    assert (job.status(), job.info().attempts, memories(client)) == ("succeeded", 2, ["I sing."])


def test_a_decision_that_fails_does_not_pay_for_the_facts_again(services, client, model, openai_server):
    told(services, client, "I like tea")
    model.updates("I like coffee.", "I like tea.")
    openai_server.clear_requests()
    job = client.add("I like coffee", user_id="ana")
    model.before = lambda stage: openai_server.faults.add(Fault("unavailable", endpoint="chat"))
    drain(services, job)
    assert job.status() == "retrying"
    model.before = lambda stage: None
    bring_back(services, job)
    answered = [request for request in model.requests if request.status == 200]
    assert [request.body["response_format"]["json_schema"]["name"] for request in answered] == [EXTRACT, DECIDE]
    usage = job.info().usage
    assert (job.status(), usage.chat_requests, usage.embedding_requests) == ("succeeded", 2, 2)
    assert memories(client) == ["I like coffee."]


def answered(model) -> tuple[int, int]:
    """How many chat requests were answered, and the tokens asked with."""
    tokens = [request.tokens for request in model.requests if request.status == 200]
    return len(tokens), sum(tokens)


def recorded(services, *jobs) -> tuple[int, int]:
    """The same, as the jobs' usage says it, which is what the counters of all jobs say."""
    usages = [job.info().usage for job in jobs]
    said = sum(usage.chat_requests for usage in usages), sum(usage.prompt_tokens for usage in usages)
    counted = services.control.hmget(services.keys.usage, "chat_requests", "prompt_tokens")
    assert tuple(int(count or 0) for count in counted) == said
    return said


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "unauthorized"])
def test_what_the_windows_before_a_failure_cost_is_recorded_once(services, client, model, openai_server, kind):
    with_settings(services, client, inference_window_tokens=256)
    openai_server.faults.add(Fault(kind, endpoint="chat", match="Song 3", retry_after=0.1))
    said = [{"role": "user", "content": f"Song {number} {'la' * 200}"} for number in range(6)]
    job = client.add(said, user_id="ana")
    drain(services, job)
    assert recorded(services, job) == answered(model)
    assert answered(model)[0] == 3
    if kind == "unauthorized":
        services.faults.look()
    bring_back(services, job)
    assert recorded(services, job) == answered(model)
    assert answered(model)[0] == 3 + 6, "asked again from the first window"
    assert (job.status(), len(memories(client))) == ("succeeded", 6)


def test_what_the_decisions_before_a_failure_cost_is_recorded_once(services, client, model, openai_server):
    known = client.add("I like tea", user_id="ana")
    drain(services, known)
    openai_server.faults.add(Fault("unavailable", endpoint="chat", match='"I have song 44."'))
    job = client.add(". ".join(f"I have song {number}" for number in range(45)), user_id="ana")
    drain(services, job)
    assert recorded(services, known, job) == answered(model)
    assert model.asked[1:] == [EXTRACT, DECIDE, DECIDE, DECIDE], "and the last one was not answered"
    bring_back(services, job)
    assert recorded(services, known, job) == answered(model)
    assert model.asked[5:] == [DECIDE] * 3, "the facts are there"
    assert (job.status(), len(memories(client))) == ("succeeded", 46)


def test_a_model_that_stays_away_ends_in_a_dead_letter_that_is_replayed(services, client, model, openai_server):
    with_settings(services, client, max_attempts=1)
    openai_server.faults.add(Fault("unavailable", times=100, endpoint="chat"))
    result = told(services, client, "I sing")
    assert (result.status, result.error["type"], memories(client)) == ("failed", "NetworkError", [])
    (letter,) = client.dead_letters()
    assert letter.payload[0]["messages"] == [{"role": "user", "content": "I sing"}]
    openai_server.faults.clear()
    client.replay(letter.job_id)
    drain_all(services)
    assert (client.job(letter.job_id).status(), memories(client)) == ("succeeded", ["I sing."])


def test_a_model_that_runs_on_is_stopped_by_the_bound_and_read_as_far_as_it_goes(services, client, openai_server):
    fact = json.dumps({"message": 1, "text": "I sing.", "category": None})

    def run_on(request):
        room = request["max_tokens"] * 4  # characters
        return Reply(f'{{"facts": [{", ".join([fact] * 1_000)}'[:room], finish_reason="length")

    openai_server.answer_chat_with(run_on)
    result = told(services, client, "I sing")
    assert (result.status, result.attempts, memories(client)) == ("succeeded", 1, ["I sing."])
    assert result.usage.completion_tokens < 2_000


def test_a_model_whose_answers_are_of_no_use_is_no_model_without_facts(services, client, openai_server):
    """Never a silent "nothing to remember"; and what it cost is said."""
    with_settings(services, client, max_attempts=2)
    openai_server.answer_chat_with(lambda request: "I would rather not say.")
    job = client.add("I sing", user_id="ana")
    drain(services, job)
    assert job.status() == "retrying"
    bring_back(services, job)
    result = job.wait(1)
    assert (result.status, result.error["code"]) == ("failed", "INFERENCE_MALFORMED")
    assert (result.usage.chat_requests, result.usage.completion_tokens > 0) == (4, True)
    assert int(services.control.hget(services.keys.usage, "chat_requests")) == 4


def test_what_asking_again_cannot_repair_is_a_dead_letter_at_once(services, client, model, openai_server):
    openai_server.script(Reply(refusal="no"), Reply(refusal="no"))
    result = told(services, client, "I sing")
    assert (result.status, result.attempts, result.error["code"]) == ("failed", 1, "INFERENCE_REFUSED")
    assert [letter.job_id for letter in client.dead_letters()] == [result.job_id]


def test_a_model_that_does_not_exist_is_one_clear_fault_and_the_conversations_wait(
    services, client, model, openai_server
):
    openai_server.limits = Limits(models={services.settings.embedding_model})
    jobs = [client.add(f"I sing {number}", user_id=f"user-{number}") for number in range(20)]
    for _ in range(services.settings.max_attempts + 1):
        drain_all(services)
        let_time_pass(services)
    chat = [request for request in openai_server.requests if request.endpoint == "chat"]
    assert len(chat) == 2, "one conversation, one harmless question"
    assert {(job.status(), job.info().attempts) for job in jobs} <= {("retrying", 0), ("queued", 0)}
    services.leases.renew()
    (fault,) = client.health().worker_faults.values()
    assert (fault.code, fault.queues) == ("PROVIDER_REFUSES", ["inference"])
    assert "code model_not_found" in fault.message
    assert "EMENDO_CHAT_MODEL" in fault.suggestion
    openai_server.limits = Limits()
    services.faults.look()
    let_time_pass(services)
    drain_all(services)
    assert {job.status() for job in jobs} == {"succeeded"}


@pytest.mark.parametrize(
    "kind", ["server_error", pytest.param("timeout", marks=pytest.mark.slow), "bad_request", "reset"]
)
def test_one_poison_conversation_never_opens_the_breaker(services, client, model, openai_server, kind):
    with_settings(services, client, max_attempts=3, breaker_failures=1)
    services.chat._breaker._settings = services.settings.model_copy(update={"breaker_failures": 1})
    openai_server.faults.add(Fault(kind, endpoint="chat", match="poison", rate=1.0, silence=9))
    poison = client.add("I am the poison", user_id="eve")
    drain(services, poison)
    for attempt in range(1, 4):
        innocent = client.add(f"I sing {attempt}", user_id="ana")
        drain(services, innocent)
        assert (innocent.status(), innocent.info().attempts) == ("succeeded", 1), "nobody waits for it"
        if poison.status() == "failed":
            break
        assert poison.info().attempts == attempt, "an attempt that asked counts"
        bring_back(services, poison)
    assert poison.status() == "failed"
    assert client.health().circuit_breakers[PROVIDER].state == "closed"


@pytest.mark.parametrize("server", SERVERS)
def test_a_conversation_with_too_many_tokens_is_asked_once_and_says_what_to_lower(
    services, client, model, openai_server, server
):
    openai_server.limits = Limits(max_tokens=900, speaks_like=server)
    result = told(services, client, "la " * 2_000)
    assert (result.status, result.attempts, result.error["code"]) == ("failed", 1, "INFERENCE_TOO_LONG")
    assert "EMENDO_INFERENCE_WINDOW_TOKENS" in result.error["suggestion"]
    assert len(openai_server.requests) == 1
    openai_server.limits = Limits()
    assert told(services, client, "I sing").status == "succeeded"


def test_a_key_that_the_chat_provider_refuses_is_the_workers_fault_and_its_jobs_wait(
    services, client, model, openai_server
):
    openai_server.faults.add(Fault("unauthorized", endpoint="chat", times=100))
    job = client.add("I sing", user_id="ana")
    drain(services, job)
    bring_back(services, job)
    for _ in range(services.settings.max_attempts + 1):
        assert drain(services, job) == 0, "a faulty worker claims no job"
    assert (job.status(), job.info().attempts, job.info().error["code"]) == ("retrying", 0, "AUTHENTICATION")
    assert (services.faults.blocks("inference"), services.faults.blocks("interactive")) == (True, False)
    openai_server.faults.clear()
    services.faults.look()
    drain(services, job)
    assert job.status() == "succeeded"


def test_a_model_that_is_down_is_left_alone_and_costs_no_attempts(services, client, model, openai_server):
    breaker = services.chat._breaker
    breaker._settings = services.settings.model_copy(update={"breaker_failures": 1, "breaker_pause": 60.0})
    openai_server.faults.add(Fault("unavailable", times=100, endpoint="chat"))
    job = client.add("I sing", user_id="ana")
    drain(services, job)
    for _ in range(3):
        bring_back(services, job)
    assert (job.info().attempts, job.info().error["code"], len(model.requests)) == (1, "CIRCUIT_OPEN", 1)
    openai_server.faults.clear()
    services.control.hset(services.keys.breaker(PROVIDER), "until", 1)
    bring_back(services, job)
    assert job.status() == "succeeded"


def test_an_embedder_that_is_away_costs_no_second_extraction(services, client, model, openai_server):
    job = client.add("I sing", user_id="ana")
    openai_server.faults.add(Fault("unavailable", times=3, endpoint="embeddings"))
    drain(services, job)
    assert (job.status(), memories(client)) == ("retrying", [])
    facts = json.loads(services.control.hget(services.keys.job(job.id), "payload"))["operations"][0]["facts"]
    assert facts == [{"text": "I sing.", "source": 0}]
    bring_back(services, job)
    assert (job.status(), model.asked) == ("succeeded", [EXTRACT])


def test_a_fact_that_the_embedder_refuses_fails_alone(services, client, model, openai_server):
    openai_server.faults.add(Fault("bad_request", times=100, match="unspeakable", endpoint="embeddings"))
    result = told(services, client, "I sing. I am unspeakable. I dance")
    assert (result.status, [item.event for item in result.results]) == ("partially_succeeded", ["ADD", None, "ADD"])
    assert [(item.decision, (item.error or {}).get("code")) for item in result.results][1] == ("ADD", "EMBEDDING")
    asked = sum("I am unspeakable." in texts for texts in embeddings(openai_server))
    openai_server.faults.clear()
    client.replay(result.job_id)
    drain_all(services)
    assert client.job(result.job_id).status() == "succeeded"
    assert memories(client) == ["I am unspeakable.", "I dance.", "I sing."]
    assert (model.asked, asked <= 3) == ([EXTRACT], True), "the plan is there; the refusal was found by halving"


def test_an_update_the_embedder_refuses_leaves_the_memory_and_a_dead_letter(services, client, model, openai_server):
    told(services, client, "I like tea")
    model.updates("I like coffee.", "I like tea.", "I like coffee unspeakably.")
    openai_server.faults.add(Fault("bad_request", times=100, match="unspeakably", endpoint="embeddings"))
    result = told(services, client, "I like coffee")
    assert (result.status, result.results[0].decision, memories(client)) == ("failed", "UPDATE", ["I like tea."])
    (letter,) = client.dead_letters()
    assert (letter.payload[0]["op"], letter.payload[0]["fact"]) == ("update", "I like coffee.")


def test_a_dead_letter_loses_what_it_held_of_an_erased_memory_and_carries_out_the_rest(
    services, client, model, openai_server
):
    tea, dog = (item.memory_id for item in told(services, client, "I like tea. I have a dog").results)
    model.updates("I like coffee.", "I like tea.", "I like coffee unspeakably.")
    model.updates("I have two dogs.", "I have a dog.", "I have two unspeakable dogs.")
    openai_server.faults.add(Fault("bad_request", times=100, match="unspeakabl", endpoint="embeddings"))
    told(services, client, "I like coffee. I have two dogs")
    client.delete(tea, hard=True)
    drain_all(services)
    (letter,) = client.dead_letters()
    erased, kept = letter.payload
    assert not {"text", "fact", "source", "reason", "user_id", "metadata"} & erased.keys()
    assert kept["text"] == "I have two unspeakable dogs."
    for refused in (True, False):
        if not refused:
            openai_server.faults.clear()
        client.replay(letter.job_id)
        drain_all(services)
        result = client.job(letter.job_id).wait(1)
        assert [(item.error or {}).get("code") for item in result.results] == [
            "MEMORY_ERASED",
            "EMBEDDING" if refused else None,
        ]
        payload = services.control.hget(services.keys.job(letter.job_id), "payload")
        assert payload is None or "planned" in json.loads(payload), "it is a plan still"
    assert (client.get(dog).memory, client.dead_letters()) == ("I have two unspeakable dogs.", [])
    assert model.asked.count(EXTRACT) == 2, "each conversation was read once"


# Cancelled.


def cancel(client, job) -> str:
    """As `job.cancel` does, without waiting for the worker's answer."""
    return client._run(jobs.cancel(client.settings, client._keys, client.project, job.id))


def test_an_add_that_is_cancelled_before_it_begins_asks_nothing(services, client, model):
    job = client.add("I sing", user_id="ana")
    assert job.cancel() is True
    drain(services, job)
    assert (job.status(), model.asked, memories(client)) == ("cancelled", [], [])


@pytest.mark.parametrize("at", [EXTRACT, DECIDE])
def test_an_add_that_is_cancelled_while_the_model_thinks_changes_nothing(services, client, model, at):
    told(services, client, "I like tea")
    model.updates("I like coffee.", "I like tea.")
    job = client.add("I like coffee", user_id="ana")
    asked = len(model.requests)

    def stop(stage):
        if stage == at:
            cancel(client, job)

    model.before = stop
    drain(services, job)
    assert (job.wait(1).status, memories(client)) == ("cancelled", ["I like tea."])
    assert model.asked[asked:] == ([EXTRACT] if at == EXTRACT else [EXTRACT, DECIDE])
    assert client.dead_letters() == []


def test_a_shard_is_worked_by_one_drain_whatever_the_model_takes(services, client, model):
    first = client.add("I sing", user_id="ana")
    client.add("I dance", user_id="ana")
    drains = []

    def look(stage):
        drains.append(drain(services, first))

    model.before = look
    drain(services, first)
    assert (drains, memories(client)) == ([0, 0, 0], ["I dance.", "I sing."])
    assert shard_of_job(services, first).startswith("inference")
    assert Sweeper(services).sweep() == set()
