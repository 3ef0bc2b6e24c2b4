"""Deletes beyond inference's limit: they wait for a person, and change nothing until that person decides."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from emendo_client import AsyncMemoryClient, Conflict, Event, Job, MemoryClient
from emendo_client.errors import MemoryNotFoundError
from emendo_client.requests.jobs import JobRequest
from emendo_config.json_codec import compact_json
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.services import Services
from tests.support.deaths import DEATHS
from tests.support.disputing import documents, drain_dying, errors_of, listed, worked
from tests.support.erasing import assert_nothing_is_left, everything
from tests.support.intake import added, drain

TEXT = "Ana has a dog."
WHY = {"reason": "the dog is gone", "source": "My dog has died.", "prompt": "decide-1"}


def held(client: MemoryClient, memory_id: str, version: int = 1, **more) -> Job:
    """A job whose plan holds a delete back, as inference writes it."""
    operation = {"op": "hold", "memory_id": memory_id, "expected_version": version, **WHY, **more}
    request = JobRequest(
        job_id=str(uuid.uuid4()),
        kind="add",
        project=client.project,
        routing_id=memory_id,
        memory_id="",
        payload=compact_json({"first": 0, "operations": [operation]}),
        items=1,
    )
    return client._submit(request)


def waiting(services: Services, client: MemoryClient) -> tuple[str, Conflict]:
    """A memory, and the delete of it that waits."""
    memory_id = added(services, client, TEXT, metadata={"k": 1})
    worked(services, held(client, memory_id))
    return memory_id, client.conflicts()[0]


# What waits.


def test_a_pending_delete_waits_and_the_memory_stays_as_it_is(services, client):
    memory_id = added(services, client, TEXT, metadata={"k": 1})
    before = client.get(memory_id)
    job = held(client, memory_id)
    worked(services, job)
    (item,) = job.wait(1).results
    assert (item.event, item.version, item.memory, item.error) == (Event.SUPERSEDED, 2, TEXT, None)
    (conflict,) = client.conflicts()
    assert conflict == client.conflict(conflict.id)
    assert (conflict.id, conflict.memory_id, conflict.job_id) == (item.conflict_id, memory_id, job.id)
    assert conflict.id == f"{memory_id}:{job.id}:0"
    assert (conflict.proposal, conflict.base, conflict.theirs, conflict.ours) == (Event.DELETE, TEXT, TEXT, None)
    assert (conflict.reason, conflict.source, conflict.prompt_version) == tuple(WHY.values())
    assert (conflict.expected_version, conflict.current_version) == (1, 2)
    assert client.get(memory_id) == before.model_copy(update={"version": 2})
    assert client.search(TEXT, user_id="ana")[0].id == memory_id
    assert client.diagnose(memory_id).ok


def test_it_shows_what_the_memory_says_now_beside_what_was_to_go(services, client):
    memory_id, _ = waiting(services, client)
    worked(services, client.update(memory_id, "Ana has a cat."))
    (conflict,) = client.conflicts()
    assert (conflict.base, conflict.theirs, conflict.current_version) == (TEXT, "Ana has a cat.", 3)


def test_an_update_that_waits_proposes_no_delete(services, client):
    memory_id = added(services, client, "base")
    worked(services, client.update(memory_id, "theirs"))
    worked(services, client.update(memory_id, "ours", expected_version=1, on_conflict="manual"))
    (conflict,) = client.conflicts()
    assert (conflict.proposal, conflict.reason, conflict.source, conflict.prompt_version) == (
        *(Event.UPDATE, None, None, None),
    )


def test_nothing_of_it_stands_on_the_control_plane(services, client):
    _, conflict = waiting(services, client)
    record = repr(services.control.hgetall(services.keys.job(conflict.job_id)))
    for secret in (TEXT, WHY["reason"], WHY["source"]):
        assert secret not in record
        assert secret not in repr(listed(services))


def test_a_delete_that_was_decided_on_another_version_does_not_wait(services, client):
    memory_id = added(services, client, TEXT)
    worked(services, client.update(memory_id, "Ana has two dogs."))
    job = held(client, memory_id)
    drain(services, job)
    assert errors_of(job) == ["VERSION_MISMATCH"]
    assert (client.conflicts(), client.get(memory_id).version) == ([], 2)


@pytest.mark.parametrize("together", [False, True], ids=["later", "in the same batch"])
def test_a_memory_waits_for_one_decision_however_often_its_delete_is_proposed(services, client, together):
    memory_id = added(services, client, TEXT)
    first = held(client, memory_id)
    if not together:
        worked(services, first)
    second = held(client, memory_id, version=2, reason="said again")
    worked(services, second)
    (item,) = second.wait(1).results
    assert (item.event, item.version, item.error, item.conflict_id) == (None, 2, None, None)
    (conflict,) = client.conflicts()
    assert (conflict.job_id, conflict.reason) == (first.id, WHY["reason"])
    assert len(client.history(memory_id)) == 2
    worked(services, client.resolve_conflict(conflict.id, "theirs"), held(client, memory_id, version=3))
    assert len(client.conflicts()) == 1, "what was refused may be proposed again"


def test_a_text_that_waits_is_no_reason_not_to_hold_a_delete(services, client):
    memory_id = added(services, client, "base")
    worked(services, client.update(memory_id, "theirs"))
    worked(services, client.update(memory_id, "ours", expected_version=1, on_conflict="manual"))
    worked(services, held(client, memory_id, version=3))
    assert [conflict.proposal for conflict in client.conflicts()] == [Event.DELETE, Event.UPDATE]


# The decision.


def test_taking_it_deletes_the_memory_as_that_person_and_a_restore_brings_it_back(services, client):
    memory_id, conflict = waiting(services, client)
    job = client.resolve_conflict(conflict.id, "ours", actor_id="settle", expected_version=conflict.current_version)
    worked(services, job)
    (item,) = job.wait(1).results
    assert (item.event, item.version, item.previous_memory) == (Event.DELETE, 3, TEXT)
    with pytest.raises(MemoryNotFoundError):
        client.get(memory_id)
    entry = client.history(memory_id)[-1]
    assert (entry.event, entry.actor_id, entry.job_id, entry.old_memory) == (Event.DELETE, "settle", job.id, TEXT)
    assert (client.conflicts(), documents(services, memory_id), listed(services)) == ([], 0, [])
    worked(services, client.restore(memory_id))
    assert (client.get(memory_id).memory, client.get(memory_id).metadata) == (TEXT, {"k": 1})


def test_refusing_it_keeps_the_memory(services, client):
    memory_id, conflict = waiting(services, client)
    worked(services, client.resolve_conflict(conflict.id, "theirs", actor_id="settle"))
    assert client.get(memory_id).memory == TEXT
    entry = client.history(memory_id)[-1]
    assert (entry.event, entry.actor_id) == (Event.SUPERSEDED, "settle")
    assert (client.conflicts(), documents(services, memory_id), listed(services)) == ([], 0, [])


def test_merging_with_it_is_refused_and_it_still_waits(services, client):
    memory_id, conflict = waiting(services, client)
    job = client.resolve_conflict(conflict.id, "merged", text="Ana had a dog.")
    drain(services, job)
    (item,) = job.wait(1).results
    assert (item.error["type"], item.error["code"]) == ("ValidationError", "NOTHING_TO_MERGE")
    assert [each.id for each in client.conflicts()] == [conflict.id]
    assert client.get(memory_id).memory == TEXT


@pytest.mark.parametrize(
    ("choices", "is_deleted"), [(("ours", "theirs"), True), (("theirs", "ours"), False), (("ours", "ours"), True)]
)
@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "in one batch"])
def test_of_two_decisions_the_first_one_stands(services, client, choices, is_deleted, together):
    memory_id, conflict = waiting(services, client)
    first = client.resolve_conflict(conflict.id, choices[0])
    if not together:
        worked(services, first)
    second = client.resolve_conflict(conflict.id, choices[1])
    drain(services, second)
    assert first.status() == "succeeded"
    assert errors_of(second) == ["NO_SUCH_CONFLICT"]
    assert client.get(memory_id, include_deleted=True).is_deleted is is_deleted
    assert len(client.history(memory_id)) == 3


def test_a_decision_on_what_changed_since_it_was_seen_is_refused(services, client):
    memory_id, conflict = waiting(services, client)
    worked(services, client.update(memory_id, "Ana has a cat."))
    job = client.resolve_conflict(conflict.id, "ours", expected_version=conflict.current_version)
    drain(services, job)
    assert errors_of(job) == ["VERSION_MISMATCH"]
    assert (client.get(memory_id).memory, len(client.conflicts())) == ("Ana has a cat.", 1)


def test_a_memory_that_was_deleted_meanwhile_can_be_decided_on_either_way(services, client):
    for choice in ("ours", "theirs"):
        memory_id, conflict = waiting(services, client)
        worked(services, client.delete(memory_id), client.resolve_conflict(conflict.id, choice))
        assert client.get(memory_id, include_deleted=True).is_deleted
        assert client.conflicts() == []


def test_another_project_neither_sees_nor_takes_it(services, client):
    memory_id, conflict = waiting(services, client)
    with MemoryClient(services.settings, project="other") as stranger:
        assert stranger.conflicts() == []
        job = stranger.resolve_conflict(conflict.id, "ours")
        drain(services, job)
        assert errors_of(job) == ["MEMORY_NOT_FOUND"]
        mine = held(stranger, memory_id, 2)
        drain(services, mine)
        assert errors_of(mine) == ["MEMORY_NOT_FOUND"]
    assert (client.get(memory_id).memory, len(client.conflicts())) == (TEXT, 1)


async def test_the_async_client_sees_and_decides_the_same(services, client):
    memory_id, conflict = waiting(services, client)
    async with AsyncMemoryClient(services.settings) as twin:
        assert await twin.conflicts() == [conflict]
        decision = await twin.resolve_conflict(conflict.id, "ours", actor_id="settle")
        drain(services, client.job(decision.id))
        assert await twin.conflicts() == []
    assert client.history(memory_id)[-1].event == Event.DELETE


def test_the_command_line_shows_what_is_proposed_and_why(services, client, cli):
    memory_id = added(services, client, "Ana has a dog [/red].")
    worked(services, held(client, memory_id, reason="[bold]the dog is gone", source="My dog has died.\n[/x]"))
    (conflict,) = client.conflicts()
    code, out, _ = cli(services.settings, "conflicts")
    assert (code, out.splitlines()[1]) == (0, conflict.id)
    assert out.splitlines()[2].startswith("  proposed ")
    assert out.splitlines()[2].endswith(" UTC: DELETE")
    code, out, _ = cli(services.settings, "conflicts", "show", conflict.id)
    assert code == 0
    assert "theirs:version2" in "".join(out.split())
    assert "".join(out.split()).count("[/red]") == 2, "as it was, and as it is"
    assert out.endswith("because: [bold]the dog is gone\nsaid: My dog has died. [/x]\nprompt: decide-1\n")
    code, out, _ = cli(services.settings, "conflicts", "--json")
    (document,) = json.loads(out)
    assert (document["proposal"], document["base"], document["prompt_version"]) == (
        *("DELETE", "Ana has a dog [/red].", "decide-1"),
    )


def test_the_command_line_carries_the_decision_out(services, client, cli):
    memory_id, conflict = waiting(services, client)
    decide = ["conflicts", "resolve", conflict.id, "--ours", "--actor", "settle", "--no-wait", "--json"]
    code, out, _ = cli(services.settings, *decide)
    assert code == 0
    worked(services, client.job(json.loads(out)["job_id"]))
    assert (client.history(memory_id)[-1].event, client.history(memory_id)[-1].actor_id) == (Event.DELETE, "settle")
    assert cli(services.settings, "conflicts")[:2] == (0, "0 waiting\n")


# Erasure.


def test_what_waits_for_an_erased_memory_is_erased_with_it(services, client):
    memory_id, conflict = waiting(services, client)
    assert WHY["source"] in everything(services)
    worked(services, client.delete(memory_id, hard=True))
    assert client.conflicts() == []
    keep_house(services.store, services.notifier, time.time())
    assert listed(services) == []
    assert WHY["source"] not in everything(services)
    assert_nothing_is_left(services, TEXT, WHY["reason"])
    late = client.resolve_conflict(conflict.id, "ours")
    drain(services, late)
    assert errors_of(late) == ["MEMORY_ERASED"]


def test_a_dead_letter_of_a_pending_delete_loses_why_when_its_memory_is_erased(services, client, refusals_are_kept):
    memory_id = added(services, client, TEXT)
    job = held(client, memory_id, version=9)
    drain(services, job)
    assert WHY["source"] in everything(services), "the letter keeps its payload for a replay"
    worked(services, client.delete(memory_id, hard=True))
    assert_nothing_is_left(services, TEXT, WHY["reason"], WHY["source"])
    client.discard(job.id)


# Deaths.


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_at_any_step_still_gets_the_delete_listed_once(services, client, monkeypatch, after):
    deaths = 0
    for step in range(1, 50):
        memory_id = added(services, client, TEXT)
        job = held(client, memory_id)
        died = drain_dying(services, monkeypatch, step, job, memory_id, after=after)
        deaths += died
        (conflict,) = client.conflicts()
        assert (conflict.job_id, conflict.proposal) == (job.id, Event.DELETE), f"died at step {step}"
        assert job.wait(1).results[0].conflict_id == conflict.id, f"died at step {step}"
        assert [entry.version for entry in client.history(memory_id)] == [1, 2], f"died at step {step}"
        assert client.get(memory_id).memory == TEXT
        worked(services, client.resolve_conflict(conflict.id, "theirs"))
        if not died:
            break
    assert deaths >= 5, "the drain was expected to make at least five round trips"


@pytest.mark.parametrize("choice", ["ours", "theirs"])
@pytest.mark.parametrize("after", DEATHS)
def test_a_decision_whose_worker_dies_at_any_step_has_one_effect(services, client, monkeypatch, choice, after):
    deaths = 0
    for step in range(1, 50):
        memory_id, conflict = waiting(services, client)
        job = client.resolve_conflict(conflict.id, choice, actor_id="settle")
        died = drain_dying(services, monkeypatch, step, job, memory_id, after=after)
        deaths += died
        assert job.status() == "succeeded", f"died at step {step}: {job.wait(1)}"
        history = client.history(memory_id)
        assert [entry.version for entry in history] == [1, 2, 3], f"died at step {step}"
        assert history[-1].actor_id == "settle"
        assert client.get(memory_id, include_deleted=True).is_deleted == (choice == "ours")
        assert (documents(services, memory_id), listed(services)) == (0, []), f"died at step {step}"
        if not died:
            break
    assert deaths >= 5
