"""Workers die, others are faster, two come at once: each plan is carried out once, and paid for once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from emendo_client import MemoryClient
from emendo_client.requests.operations import scope_name
from emendo_client.testing import Fault
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys
from emendo_config.store import scripts
from emendo_workers.inference import carry_out, run
from emendo_workers.inference.scope import locked, scope_of
from emendo_workers.jobs.operations import Infer
from tests.support.deaths import DEATHS, Killed, die_at, dies_at_call
from tests.support.inferring import DECIDE, EXTRACT, Model, leases_run_out, memories, told, with_chat
from tests.support.intake import bring_back, drain, drain_all, shard_of_job, with_settings
from tests.support.patience import PATIENCE, until

CONVERSATION = "I like coffee. I have no dog. I live in Porto. I sing"


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def known(services, client, model, user="ana"):
    """Three memories: the conversation updates one, deletes one, and repeats one."""
    items = told(services, client, "I like tea. I have a dog. I live in Porto", user_id=user).results
    model.updates("I like coffee.", "I like tea.")
    model.deletes("I have no dog.", "I have a dog.")
    return [item.memory_id for item in items]


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_at_any_step_leaves_a_plan_that_is_carried_out_once(  # noqa: PLR0917
    services, client, model, openai_server, monkeypatch, after
):
    deaths, again = 0, []
    for step in range(1, 60):
        user = f"user {step}"
        tea, dog, porto = known(services, client, model, user)
        openai_server.clear_requests()
        job = client.add(CONVERSATION, user_id=user)
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                drain(services, job)
            except Killed:
                deaths += 1
                died = True
            else:
                died = False
        leases_run_out(services)
        drain_all(services)
        result = job.wait(1)
        assert result.status == "succeeded", f"died at step {step}"
        assert [item.decision for item in result.results] == ["UPDATE", "DELETE", "NONE", "ADD"]
        assert memories(client, user_id=user) == ["I like coffee.", "I live in Porto.", "I sing."]
        assert [len(client.history(each)) for each in (tea, dog, porto)] == [2, 2, 1], f"died at step {step}"
        again += [(step, stage) for stage in (EXTRACT, DECIDE) if model.asked.count(stage) > 1]
        feed = [raw for _, raw in services.control.xrange(services.keys.feed) if raw[b"job_id"] == job.id.encode()]
        assert len(feed) == 3, f"died at step {step}"
        if not died:
            break
    assert deaths >= 10, "a conversation was expected to take at least ten round trips"
    # Only an answer that died with its worker, before it was stored, is asked for again.
    assert [stage for _, stage in again] == ([DECIDE] if after else [EXTRACT, DECIDE, DECIDE]), again


def test_a_stored_plan_is_carried_out_without_another_question(services, client, model, openai_server):
    known(services, client, model)
    openai_server.clear_requests()
    job = client.add(CONVERSATION, user_id="ana")
    with dies_at_call(carry_out, "apply_operations"):
        drain(services, job)
    payload = json.loads(services.control.hget(services.keys.job(job.id), "payload"))
    assert [each["op"] for each in payload["operations"]] == ["update", "delete", "none", "add"]
    assert job.info().items == 4
    leases_run_out(services)
    drain_all(services)
    assert (job.status(), model.asked) == ("succeeded", [EXTRACT, DECIDE])
    assert memories(client) == ["I like coffee.", "I live in Porto.", "I sing."]


def test_a_worker_that_dies_between_two_commits_of_a_plan_leaves_the_rest_to_the_next(
    services, client, model, openai_server, monkeypatch
):
    tea, dog, _ = known(services, client, model)
    openai_server.clear_requests()
    job = client.add(CONVERSATION, user_id="ana")
    real = scripts.run

    def commits(commands):
        return [command for command in commands if scripts.commit.runs_in(command)]

    def die_after_the_first_commit(connection, commands, **more):
        if len(commits(commands)) > 1:
            real(connection, commits(commands)[:1], **more)
            raise Killed
        return real(connection, commands, **more)

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", die_after_the_first_commit)
        with pytest.raises(Killed):
            drain(services, job)
    assert sorted([len(client.history(tea)), len(client.history(dog))]) == [1, 2], "one is committed, one is not"
    leases_run_out(services)
    drain_all(services)
    assert (job.status(), model.asked) == ("succeeded", [EXTRACT, DECIDE])
    assert [len(client.history(each)) for each in (tea, dog)] == [2, 2]
    assert memories(client) == ["I like coffee.", "I live in Porto.", "I sing."]


@pytest.mark.parametrize("at", [EXTRACT, DECIDE])
def test_a_stale_attempt_does_not_carry_its_plan_out(services, client, model, at):
    """A worker that stood still while it asked finds that the job is in other hands."""
    with_settings(services, client, drain_budget=1.0)
    known(services, client, model)
    job = client.add("I sing", user_id="ana")

    def overtake(stage):
        if stage == at:
            services.control.hset(services.keys.job(job.id), "attempt_token", "another attempt")

    model.before = overtake
    drain(services, job)
    assert job.status() == "running", "only the other attempt may say what became of it"
    assert "I sing." not in memories(client)


@pytest.mark.chaos
@pytest.mark.slow
def test_a_killed_worker_process_leaves_a_plan_that_another_one_carries_out(emendo_redis, openai_server, tmp_path):
    settings = with_chat(settings_for(emendo_redis.url, openai_server.base_url), openai_server, chat_timeout=30.0)
    keys, model = Keys(settings.key_prefix), Model(openai_server)
    with WorkerProcess(settings, tmp_path / "first.log") as first, MemoryClient(settings) as client:
        items = client.add("I like tea. I have a dog", user_id="ana").wait(raise_on_failure=True).results
        model.updates("I like coffee.", "I like tea.", "I like coffee, not tea.")
        openai_server.clear_requests()
        # Only the model's own words are not embedded yet: the plan is stored, and waits for their vector.
        model.before = lambda stage: setattr(openai_server, "latency_ms", 3_000 if stage == DECIDE else 0)
        job = client.add("I like coffee. I sing", user_id="ana")
        until(lambda: b'"planned"' in (client._connections.control.hget(keys.job(job.id), "payload") or b""))
        first.kill()
        openai_server.latency_ms = 0
        with WorkerProcess(settings, tmp_path / "second.log"):
            result = job.wait(PATIENCE)
        assert result.status == "succeeded"
        assert [item.decision for item in result.results] == ["UPDATE", "ADD"]
        assert memories(client) == ["I have a dog.", "I like coffee, not tea.", "I sing."]
        assert len(client.history(items[0].memory_id)) == 2
        assert model.asked == [EXTRACT, DECIDE]


@pytest.mark.slow  # waits for a lease to end
@pytest.mark.chaos
def test_a_worker_process_killed_between_two_commits_of_a_plan_leaves_the_rest_to_another_one(
    emendo_redis, openai_server, tmp_path
):
    settings = with_chat(settings_for(emendo_redis.url, openai_server.base_url), openai_server)
    keys, model = Keys(settings.key_prefix), Model(openai_server)
    with WorkerProcess(settings, tmp_path / "first.log") as first, MemoryClient(settings) as client:
        (item,) = client.add("I like tea", user_id="ana").wait(raise_on_failure=True).results
        model.updates("I like coffee.", "I like tea.")
        openai_server.clear_requests()
        lock = keys.lock(item.memory_id)
        client._connections.data.set(lock, "another worker", px=60_000)
        job = client.add("I like coffee. I sing", user_id="ana")
        until(lambda: memories(client) == ["I like tea.", "I sing."])
        first.kill()
        client._connections.data.delete(lock)
        with WorkerProcess(settings, tmp_path / "second.log"):
            result = job.wait(PATIENCE)
        assert result.status == "succeeded"
        assert [done.decision for done in result.results] == ["UPDATE", "ADD"]
        assert memories(client) == ["I like coffee.", "I sing."]
        assert [len(client.history(done.memory_id)) for done in result.results] == [2, 1]
        assert model.asked == [EXTRACT, DECIDE]


# Others are faster.


def test_what_changed_after_the_decision_is_decided_again_and_nothing_else(services, client, model):
    tea, dog, _ = known(services, client, model)
    model.updates("I like coffee.", "I like green tea.", "I like green tea and coffee.")

    def change(stage):
        if stage == DECIDE and client.get(tea).version == 1:
            drain(services, client.update(tea, "I like green tea."))

    model.before = change
    result = told(services, client, CONVERSATION)
    assert [item.decision for item in result.results] == ["UPDATE", "DELETE", "NONE", "ADD"]
    assert [entry.new_memory for entry in client.history(tea)] == [
        "I like tea.",
        "I like green tea.",
        "I like green tea and coffee.",
    ]
    asked = json.loads(model.requests[-1].body["messages"][-1]["content"])
    assert [fact["text"] for fact in asked["facts"]] == ["I like coffee."]
    assert (len(client.history(dog)), result.usage.chat_requests) == (2, 3)


def test_a_memory_that_keeps_changing_costs_a_bounded_number_of_questions_and_no_fact(services, client, model):
    (tea, *_) = known(services, client, model)
    changes = iter(range(100))

    def change(stage):
        if stage == DECIDE:
            drain(services, client.update(tea, metadata={"n": next(changes)}))

    model.before = change
    (item,) = told(services, client, "I like coffee").results
    assert (item.decision, item.event, item.fallback) == ("ADD", "ADD", "MEMORY_CHANGED")
    assert memories(client) == ["I have a dog.", "I like coffee.", "I like tea.", "I live in Porto."]
    assert next(changes) == 1 + services.settings.inference_redecisions


def test_a_delete_of_a_memory_that_keeps_changing_is_not_done(services, client, model):
    _, dog, _ = known(services, client, model)
    changes = iter(range(100))

    def change(stage):
        if stage == DECIDE:
            drain(services, client.update(dog, metadata={"n": next(changes)}))

    model.before = change
    (item,) = told(services, client, "I have no dog").results
    assert (item.decision, item.event, item.fallback) == ("NONE", None, "MEMORY_CHANGED")
    assert "I have a dog." in memories(client)


@pytest.mark.parametrize("hard", [False, True], ids=["deleted", "erased"])
def test_what_is_gone_by_then_is_neither_brought_back_nor_deleted_twice(services, client, model, hard):
    tea, dog, porto = known(services, client, model)

    def remove(stage):
        if stage == DECIDE:
            model.before = lambda stage: None
            for memory_id in (tea, dog, porto):
                drain(services, client.delete(memory_id, hard=hard))

    model.before = remove
    update, delete, repeated, new = told(services, client, CONVERSATION).results
    assert (update.decision, update.event) == ("ADD", "ADD"), "the fact is not lost"
    assert (delete.decision, delete.event, delete.fallback) == ("NONE", None, "MEMORY_GONE")
    assert (repeated.decision, repeated.event) == ("ADD", "ADD"), "no memory says it any more"
    assert new.event == "ADD"
    assert memories(client) == ["I like coffee.", "I live in Porto.", "I sing."]


def test_a_delete_beside_another_decision_is_decided_again_without_a_second_fact(services, client, model):
    told(services, client, "I like tea. I hate coffee")
    (coffee,) = (each.id for each in client.get_all(user_id="ana").results if each.memory == "I hate coffee.")

    def both(text, known):
        numbers = {said: number for number, said in known.items()}
        if text != "I like coffee.":
            return None
        said = [{"memory": numbers["I like tea."], "old_text": "I like tea.", "event": "UPDATE", "text": text}]
        for old in ("I hate coffee.", "I really hate coffee."):
            if old in numbers:
                said += [{"memory": numbers[old], "old_text": old, "event": "DELETE", "text": None}]
        return said

    def change(stage):
        if stage == DECIDE and client.get(coffee).version == 1:
            drain(services, client.update(coffee, "I really hate coffee."))

    model.rules.append(lambda text, known: both(text, known) if "I like tea." in known.values() else None)
    model.deletes("I like coffee.", "I really hate coffee.")
    model.before = change
    items = told(services, client, "I like coffee").results
    assert [(item.decision, item.event) for item in items] == [("UPDATE", "UPDATE"), ("DELETE", "DELETE")]
    assert memories(client) == ["I like coffee."]


# Two at once.


def test_two_adds_of_a_scope_are_worked_one_after_the_other(services, client, model):
    jobs = [client.add("I sing", user_id="ana") for _ in range(2)]
    assert len({shard_of_job(services, job) for job in jobs}) == 1, "one scope, one shard"
    model.repeats("I sing.", "I sing.")
    drain_all(services)
    decisions = [job.wait(1).results[0].decision for job in jobs]
    assert (decisions, memories(client)) == (["ADD", "NONE"], ["I sing."])


def test_two_adds_of_a_scope_at_the_same_time_make_one_memory(services, client, model):
    """On two shards, as while their number is being changed: only the scope's lock keeps them apart."""
    services.chat_limiter.set_limit(2)
    services.background_limiter.set_limit(2)
    jobs = [client.add("I sing", user_id="ana")]
    with_settings(services, client, inference_shards=1)
    jobs.append(client.add("I sing", user_id="ana"))
    assert len({shard_of_job(services, job) for job in jobs}) == 2
    asked, answer = threading.Event(), threading.Event()

    def hold(stage):
        asked.set()
        answer.wait(PATIENCE)

    model.before = hold
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(drain, services, jobs[0])
        assert asked.wait(PATIENCE)
        drain(services, jobs[1])
        assert (jobs[1].status(), len(model.requests)) == ("retrying", 0), "the second one waits, and asks nobody"
        answer.set()
        assert first.result(PATIENCE) == 1
    bring_back(services, jobs[1])
    assert [job.wait(1).results[0].decision for job in jobs] == ["ADD", "NONE"]
    assert memories(client) == ["I sing."]


def test_a_scope_that_another_worker_holds_makes_its_adds_wait_and_spend_no_attempt(services, client, model):
    job = client.add("I sing", user_id="ana")
    about = Infer("j", "default", 1, "", messages=[], user_id="ana")
    with locked(services, [scope_of(about)]) as held:
        assert held
        drain(services, job)
        info = job.info()
        assert (info.status, info.attempts, model.asked) == ("retrying", 0, [])
        other = client.add("I dance", user_id="ben")
        drain(services, other)
        assert other.status() == "succeeded"
    bring_back(services, job)
    assert (job.status(), memories(client)) == ("succeeded", ["I sing."])


def test_a_lock_whose_answer_was_lost_is_known_again(services, monkeypatch):
    """The connection breaks after Redis has set it, and redis-py sends the command again."""
    real = scripts.run

    repeated = []

    def twice(connection, commands, **more):
        if any(scripts.take_scope.runs_in(command) for command in commands):
            repeated.append(real(connection, commands, **more))
        return real(connection, commands, **more)

    monkeypatch.setattr(scripts, "run", twice)
    scope = scope_name("default", "ana", None, None)
    with locked(services, [scope]) as held:
        assert held == {scope}
        with locked(services, [scope]) as other:
            assert other == set()
    with locked(services, [scope]) as held:
        assert held == {scope}
    assert repeated == [[1], [0], [1]]


def test_a_plan_that_waited_adds_nothing_that_others_have_added_meanwhile(services, client, model, openai_server):
    """Its dead letter, say, is replayed after days."""
    job = client.add("I sing. I dance", user_id="ana")
    with dies_at_call(carry_out, "apply_operations"):
        drain(services, job)
    other = client.add("I sing.", user_id="ana", infer=False)
    drain(services, other)
    leases_run_out(services)
    drain_all(services)
    sings, dances = job.wait(1).results
    assert (sings.decision, sings.memory_id) == ("NONE", other.wait(1).results[0].memory_id)
    assert (dances.decision, dances.event) == ("ADD", "ADD")
    assert memories(client) == ["I dance.", "I sing."]


def test_a_dry_run_whose_worker_dies_asks_no_second_time_and_changes_nothing(services, client, model):
    job = client.add("I sing", user_id="ana", dry_run=True)
    with dies_at_call(run, "dry_run_results"):
        drain(services, job)
    leases_run_out(services)
    drain_all(services)
    assert (job.wait(1).results[0].memory, model.asked, memories(client)) == ("I sing.", [EXTRACT], [])


def test_an_answer_of_redis_that_is_lost_is_no_second_plan_and_no_second_bill(services, client, model, monkeypatch):
    real = scripts.run

    def run_twice(connection, commands, **more):
        first = real(connection, commands, **more)
        if any(scripts.store_plan.runs_in(command) for command in commands):
            assert real(connection, commands, **more) == first
        return first

    monkeypatch.setattr(scripts, "run", run_twice)
    result = told(services, client, "I sing. I dance")
    assert (result.usage.chat_requests, result.usage.embedding_requests) == (1, 1)
    assert services.control.hget(services.keys.usage, "decision:ADD") == b"2"


def test_settings_may_differ_between_shards_of_inference(services, client, model):
    with_settings(services, client, inference_shards=1)
    assert told(services, client, "I sing").status == "succeeded"


def test_what_a_dead_worker_has_committed_is_not_said_to_have_failed(
    services, client, model, openai_server, monkeypatch
):
    """The rest of its plan cannot be embedded by now."""
    tea, *_ = known(services, client, model)
    with_settings(services, client, max_attempts=2)
    job = client.add("I like coffee. I sing", user_id="ana")
    real = scripts.run

    def die_after_the_update(connection, commands, **more):
        commits = [command for command in commands if scripts.commit.runs_in(command)]
        if len(commits) > 1:
            real(connection, [command for command in commits if command[3].endswith(f"{{{tea}}}")], **more)
            raise Killed
        return real(connection, commands, **more)

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", die_after_the_update)
        with pytest.raises(Killed):
            drain(services, job)
    leases_run_out(services)
    openai_server.faults.add(Fault("unavailable", times=100, endpoint="embeddings"))
    drain_all(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    assert [(item.decision, item.event) for item in result.results] == [("UPDATE", "UPDATE"), ("ADD", None)]


def test_a_worker_without_a_model_carries_a_plan_out_and_says_what_it_could_not_ask(
    services, client, model, monkeypatch, openai_server
):
    tea, dog, _ = known(services, client, model)
    job = client.add("I like coffee. I have no dog", user_id="ana")
    with dies_at_call(carry_out, "apply_operations"):
        drain(services, job)
    drain(services, client.update(tea, metadata={"changed": True}))
    leases_run_out(services)
    monkeypatch.setattr(services, "chat", None)
    drain_all(services)
    update, delete = job.wait(1).results
    assert (update.decision, update.event, update.fallback) == ("ADD", "ADD", "NO_CHAT_MODEL")
    assert (delete.decision, delete.event, delete.memory_id) == ("DELETE", "DELETE", dog)
    assert job.info().degraded is False
