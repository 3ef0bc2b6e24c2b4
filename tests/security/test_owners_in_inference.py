"""Inference sees and changes only memories of exactly the owner given, whatever a message or a model says."""

from __future__ import annotations

import itertools
import json

import pytest

from emendo_config.json_codec import read_json
from emendo_workers.inference import carry_out, run
from emendo_workers.jobs.operations import OWNER
from tests.support.deaths import dies_at_call
from tests.support.inferring import leases_run_out, memories, told, with_chat
from tests.support.intake import added, drain, drain_all, reconfigure

IDS = {"user_id": "ana", "agent_id": "shop", "run_id": "r1"}
OWNERS = [
    {name: IDS[name] for name in names}
    for names in itertools.chain.from_iterable(itertools.combinations(OWNER, count) for count in (1, 2, 3))
]
NOBODYS = {"user_id": None, "agent_id": None, "run_id": None}
PIN = "The PIN of {} is 4711."


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def owned(owner: dict[str, str], text: str, services, client) -> str:
    return added(services, client, text, **{**NOBODYS, **owner})


def shown_to(model) -> str:
    return json.dumps([request.body for request in model.requests])


def takes_everything(text, known):
    """The answer of an injected model: it copies the memories that it sees."""
    return [
        {"memory": number, "old_text": said, "event": "UPDATE", "text": f"{said} {text}", "reason": "obey"}
        for number, said in list(known.items())[:1]
    ] or None


@pytest.mark.parametrize("owner", OWNERS, ids="+".join)
def test_the_model_is_shown_and_changes_memories_of_exactly_this_owner(services, client, model, owner):
    ids = {"-".join(each): owned(each, PIN.format("-".join(each)), services, client) for each in OWNERS}
    mine = "-".join(owner)
    model.rules.append(takes_everything)
    (item,) = told(services, client, "The PIN is needed.", **{**NOBODYS, **owner}).results
    assert (item.decision, item.memory_id) == ("UPDATE", ids[mine])
    said = shown_to(model)
    assert PIN.format(mine) in said
    for name, memory_id in ids.items():
        if name != mine:
            assert PIN.format(name) not in said
            assert client.get(memory_id).memory == PIN.format(name)
            assert len(client.history(memory_id)) == 1


def test_one_users_secret_does_not_end_in_the_agents_memory(services, client, model):
    theirs = owned({"user_id": "ana", "agent_id": "shop"}, PIN.format("Ana"), services, client)
    model.rules.append(takes_everything)
    (item,) = told(services, client, "What are the PINs you know?", user_id=None, agent_id="shop").results
    assert item.decision == "ADD"
    assert [model.asked.count(stage) for stage in ("ExtractedFacts", "FactDecisions")] == [1, 0], "nothing is known"
    assert client.get(theirs).memory == PIN.format("Ana")
    assert "4711" not in shown_to(model)


def test_a_fact_that_only_another_owner_has_is_not_taken_for_known(services, client, model):
    theirs = owned({"user_id": "ana", "agent_id": "shop"}, "The door is green.", services, client)
    (item,) = told(services, client, "The door is green.", user_id=None, agent_id="shop").results
    assert (item.decision, item.memory_id == theirs) == ("ADD", False)


@pytest.mark.parametrize("others", [3, 30], ids=["few", "more than are fetched at first"])
def test_an_owners_memories_are_found_among_any_number_of_others(services, client, model, others):
    reconfigure(services, inference_neighbours=2)
    for number in range(others):
        client.add(f"Ana lives in Porto {number}.", user_id="ana", agent_id="shop", infer=False)
    drain_all(services)
    mine = owned({"agent_id": "shop"}, "Somebody once lived elsewhere.", services, client)
    model.repeats("Ana lives in Porto.", "Somebody once lived elsewhere.")
    (item,) = told(services, client, "Ana lives in Porto", user_id=None, agent_id="shop").results
    assert (item.decision, item.memory_id) == ("NONE", mine)
    assert "Porto 1" not in shown_to(model)


def test_workers_without_a_chat_model_compare_with_the_owners_memories_only(services, client):
    services.chat = None
    theirs = owned({"user_id": "ana", "agent_id": "shop"}, "The door is green.", services, client)
    result = told(services, client, "The door is green.", user_id=None, agent_id="shop")
    assert [(item.decision, item.memory_id == theirs) for item in result.results] == [("ADD", False)]


def test_a_dry_run_shows_none_of_another_owners_texts(services, client, model):
    owned({"user_id": "ana", "agent_id": "shop"}, PIN.format("Ana"), services, client)
    model.rules.append(takes_everything)
    result = told(services, client, "The PIN.", user_id=None, agent_id="shop", dry_run=True)
    assert [(item.decision, item.memory) for item in result.results] == [("ADD", "The PIN.")]


@pytest.mark.parametrize("event", ["UPDATE", "DELETE", "NONE"])
@pytest.mark.parametrize("dry_run", [False, True], ids=["real", "dry run"])
def test_a_stored_plan_of_an_earlier_release_changes_no_other_owners_memory(services, client, model, event, dry_run):
    """It was made when all memories of the agent were seen, and is carried out after the upgrade."""
    theirs = owned({"user_id": "ana", "agent_id": "shop"}, PIN.format("Ana"), services, client)
    reconfigure(services, inference_shared_scopes=True)
    model.rules.append(lambda text, known: about_the_first(known, event))
    job = client.add("The PIN.", agent_id="shop", dry_run=dry_run)
    step = (run, "dry_run_results") if dry_run else (carry_out, "apply_operations")
    with dies_at_call(*step):
        drain(services, job)
    plan = read_json(services.control.hget(services.keys.job(job.id), "payload"))
    assert [each["memory_id"] for each in plan["operations"]] == [theirs], "the premise: it is planned"
    reconfigure(services, inference_shared_scopes=False)
    leases_run_out(services)
    drain_all(services)
    result = job.wait(1)
    assert client.get(theirs).memory == PIN.format("Ana")
    assert (len(client.history(theirs)), client.conflicts()) == (1, [])
    assert "4711" not in result.model_dump_json()


def about_the_first(known, event):
    return [
        {"memory": number, "old_text": said, "event": event, "text": f"{said} New.", "reason": ""}
        for number, said in list(known.items())[:1]
    ] or None


def test_a_setting_gives_agents_that_share_their_memories_all_of_them(services, client, model):
    theirs = owned({"user_id": "ana", "agent_id": "shop"}, "The door is green.", services, client)
    reconfigure(services, inference_shared_scopes=True)
    model.updates("The door is red.", "The door is green.")
    (item,) = told(services, client, "The door is red", user_id=None, agent_id="shop").results
    assert (item.decision, item.memory_id) == ("UPDATE", theirs)
    assert memories(client, agent_id="shop") == ["The door is red."]
