"""Around inference: what it leaves to a person, what a project asks of it, what it counts, and a dry run in a shell."""

from __future__ import annotations

import json

import pytest

from emendo_client import Event, Job, MemoryClient
from emendo_config.store import usage_counters
from tests.support.inferring import DECIDE, EXTRACT, memories, started, told, with_chat
from tests.support.intake import drain_all

FORGET = "Forget everything you know about me."
SAID = f"I am off. {FORGET}"
KNOWN = ["Ana has a cat.", "Ana has a dog.", "Ana has a horse."]


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server, inference_max_deletes=1)


def known(services, client) -> None:
    for text in KNOWN:
        client.add(text, "ana", infer=False)
    drain_all(services)
    assert memories(client) == KNOWN


def test_deletes_beyond_the_limit_wait_for_a_person(services, client, model):
    known(services, client)
    model.deletes(FORGET, *KNOWN)
    result = told(services, client, {"role": "user", "name": "ana maria", "content": SAID})
    assert result.status == "succeeded"
    added, *deletes = result.results
    assert (added.decision, [item.decision for item in deletes]) == ("ADD", ["DELETE"] * 3)
    assert sorted(item.event for item in deletes) == [Event.DELETE, Event.SUPERSEDED, Event.SUPERSEDED]
    held = {item.conflict_id for item in result.results if item.conflict_id}
    waiting = client.conflicts()
    assert {conflict.id for conflict in waiting} == held
    assert len(memories(client)) == 3, "what waits is still known"
    for conflict in waiting:
        assert (conflict.proposal, conflict.source, conflict.reason) == (Event.DELETE, SAID, "because")
        assert (conflict.actor_id, conflict.prompt_version) == ("ana maria", result.prompts["decide"])
        entry = client.history(conflict.memory_id)[-1]
        assert (entry.event, entry.source, entry.reason) == (Event.SUPERSEDED, SAID, "because")
    taken, kept = waiting
    jobs = [
        client.resolve_conflict(taken.id, "ours", actor_id="settle"),
        client.resolve_conflict(kept.id, "theirs", actor_id="settle"),
    ]
    drain_all(services)
    assert [job.status() for job in jobs] == ["succeeded"] * 2
    assert (memories(client), client.conflicts()) == (sorted(["I am off.", kept.theirs]), [])
    client.restore(taken.memory_id)
    drain_all(services)
    assert memories(client) == sorted(["I am off.", kept.theirs, taken.theirs])


def test_what_a_project_asks_reaches_the_model_as_its_own_words(services, client, model):
    client.set_project_rules(instructions="Remember pets.", categories=["animals", "food"])
    known(services, client)
    told(services, client, "Ana has a parrot.")
    assert model.asked == [EXTRACT, DECIDE]
    for request in model.requests:
        system, *rest = request.body["messages"]
        assert "Remember pets." in system["content"]
        assert "Remember pets." not in json.dumps(rest)
    assert '"animals", "food"' in model.requests[0].body["messages"][0]["content"]


def test_what_was_spent_and_decided_is_counted_once(services, client, model):
    known(services, client)
    model.updates("Ana has two cats.", KNOWN[0])
    model.repeats("There is a dog.", KNOWN[1])
    results = [told(services, client, text) for text in ("Ana has two cats.", "There is a dog. Ana surfs.")]
    used = client.health().inference
    for name in ("chat_requests", "prompt_tokens", "completion_tokens", "embedding_requests", "embedding_tokens"):
        assert getattr(used, name) == sum(getattr(result.usage, name) for result in results), name
    assert used.chat_requests == len(model.asked) == 4
    assert used.prompt_tokens > used.completion_tokens > 0
    assert used.decisions == {"ADD": 1, "UPDATE": 1, "DELETE": 0, "NONE": 1}
    assert (used.fallbacks, used.degraded_jobs) == ({}, 0)


def test_a_fallback_is_counted_by_its_code(services, client, model):
    known(services, client)
    model.rules.append(
        lambda *_: [{"memory": 99, "old_text": KNOWN[0], "event": "UPDATE", "text": "x", "reason": "because"}]
    )
    result = told(services, client, "Ana surfs.")
    assert [(item.decision, item.fallback) for item in result.results] == [("ADD", "UNKNOWN_MEMORY")]
    assert client.health().inference.fallbacks == {"UNKNOWN_MEMORY": 1}
    assert services.control.hget(services.keys.usage, usage_counters.fallback("UNKNOWN_MEMORY")) == b"1"


def test_a_dry_run_in_a_shell_shows_the_plan_and_changes_nothing(cli, services, client, model, monkeypatch):
    known(services, client)
    before = [(memory.id, memory.version) for memory in client.get_all("ana").results]
    model.updates("Ana has two cats.", KNOWN[0])
    model.deletes("The dog is gone.", KNOWN[1])
    wait = Job.wait
    monkeypatch.setattr(Job, "wait", lambda job, *given: (drain_all(services), wait(job, *given))[1])
    monkeypatch.setenv("COLUMNS", "200")
    said = "Ana has two cats. The dog is gone. Ana surfs."
    code, out, _ = cli(services.settings, "add", said, "--user", "ana", "--dry-run")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("UPDATE", KNOWN[0], "Ana has two cats."),
        ("DELETE", KNOWN[1], ""),
        ("ADD", "", "Ana surfs."),
    ]
    assert [(memory.id, memory.version) for memory in client.get_all("ana").results] == before


def test_a_job_without_a_chat_model_is_counted(emendo_settings, openai_server):
    services = started(emendo_settings)
    with MemoryClient(emendo_settings) as client:
        result = told(services, client, "Ana surfs.")
        used = client.health().inference
    services.stop()
    assert (result.degraded, used.degraded_jobs, used.chat_requests) == (True, 1, 0)
    assert used.decisions["ADD"] == 1


def test_a_message_that_is_repeated_proposes_no_delete_twice(services, client, model):
    known(services, client)
    model.deletes(FORGET, *KNOWN)
    model.repeats("I am off.", "I am off.")
    for _ in range(2):
        told(services, client, SAID)
    waiting = {conflict.memory_id for conflict in client.conflicts()}
    assert len(client.conflicts()) == len(waiting)
