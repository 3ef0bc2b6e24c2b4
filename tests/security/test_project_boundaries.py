"""Identities that are found twice: the key, the list and the record decide, and show no text of another project.

A program that can write to Redis is trusted for all projects of its prefix. But a damaged record, or one that a
defect wrote, reaches nothing of another project.
"""

from __future__ import annotations

import json
from functools import partial

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.errors import EmendoError
from emendo_config.store.pipeline import as_text
from tests.support.intake import added, drain, drain_all, let_time_pass, put_aside

SECRET = "the other project's secret"


@pytest.fixture
def other(settings):
    with MemoryClient(settings, project="other") as made:
        yield made


@pytest.fixture
def foreign(services, other):
    """The id of the other project's memory, with two versions; nothing of that project may change."""
    memory_id = added(services, other, SECRET)
    drain(services, other.update(memory_id, f"{SECRET}, again"))
    return memory_id


def keys_of(services, memory_id):
    keys = services.keys
    names = [keys.memory(memory_id), keys.history(memory_id), keys.jobs("other"), keys.dead("other")]
    names += [keys.conflicts("other"), keys.open_jobs("other")]
    return {name: services.data.dump(name) or services.control.dump(name) for name in names}


def rewrite(services, job, change) -> None:
    record = services.keys.job(job.id)
    payload = json.loads(services.control.hget(record, "payload"))
    change(payload)
    services.control.hset(record, "payload", json.dumps(payload))


CLAIMS = {
    "project": "other",
    "job_id": "0b8c5d1e-0000-4000-8000-000000000000",
    "submitted": 4_000_000_000_000_000,
    "item": 7,
    "strong": True,
}


@pytest.mark.parametrize("op", ["update", "delete", "erase", "add"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_an_operation_that_claims_another_identity_than_its_record_is_refused(
    services, client, other, foreign, *, op, claim
):
    before = keys_of(services, foreign)
    own = added(services, client)
    calls = {
        "add": lambda: client.add("planted", user_id="ana", infer=False),
        "update": lambda: client.update(own, "hacked"),
        "delete": lambda: client.delete(own),
        "erase": lambda: client.delete(own, hard=True),
    }
    job = calls[op]()
    target = foreign if claim == "project" and op != "add" else None

    def change(payload):
        payload["operations"][0] |= {claim: CLAIMS[claim]} | ({"memory_id": target} if target else {})

    rewrite(services, job, change)
    services.control.hset(services.keys.job(job.id), "memory_id", target or payload_memory(services, job))
    drain(services, job)
    assert [item.error["code"] for item in job.wait(1).results] == ["PAYLOAD_UNREADABLE"]
    assert [letter.job_id for letter in client.dead_letters()] == [job.id]
    assert keys_of(services, foreign) == before
    assert client.get(own).memory == "I dislike seafood."
    assert other.count(user_id="ana") == 1


def payload_memory(services, job) -> str:
    return json.loads(services.control.hget(services.keys.job(job.id), "payload"))["operations"][0]["memory_id"]


def test_an_operation_that_repeats_what_its_record_says_is_carried_out(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    rewrite(services, job, lambda payload: payload["operations"][0].update(project="default", job_id=job.id))
    drain(services, job)
    assert client.get(memory_id).memory == "new"


def test_an_item_of_a_batch_or_a_plan_that_claims_another_project_fails_alone(services, client, foreign):
    before = keys_of(services, foreign)
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    batch = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    record = services.keys.job(f"{batch.id}:0")
    payload = json.loads(services.control.hget(record, "payload"))
    payload["operations"][1] |= {"project": "other", "memory_id": foreign}
    services.control.hset(record, "payload", json.dumps(payload))
    drain_all(services)
    assert [(item.error or {}).get("code") for item in batch.wait(1).results] == [None, "PAYLOAD_UNREADABLE", None]
    plan = client.update(ids[0], "x")
    planned = [{"op": "update", "memory_id": foreign, "text": "x", "project": "other", "decision": "UPDATE"}]
    planned += [{"op": "update", "memory_id": ids[0], "text": "planned", "decision": "UPDATE", "submitted": 2**62}]
    rewrite(services, plan, lambda payload: payload.update(planned=1, operations=planned))
    drain_all(services)
    assert [(item.error or {}).get("code") for item in plan.wait(1).results] == ["PAYLOAD_UNREADABLE"] * 2
    assert keys_of(services, foreign) == before


def test_a_chunk_is_worked_in_the_project_of_its_batch_job(services, client, foreign):
    before = keys_of(services, foreign)
    batch = client.batch_update([{"memory_id": added(services, client), "text": "new"}])
    chunk = services.keys.job(f"{batch.id}:0")
    payload = json.loads(services.control.hget(chunk, "payload"))
    payload["operations"][0]["memory_id"] = foreign
    services.control.hset(chunk, mapping={"project": "other", "payload": json.dumps(payload)})
    drain_all(services)
    assert keys_of(services, foreign) == before
    (letter,) = client.dead_letters()
    assert (letter.error["code"], letter.error["details"]) == ("PAYLOAD_UNREADABLE", {"field": "project"})


BEYOND = {
    "migrate": {"memory_id": "", "goal": "finalize", "migration": ""},
    "erase_user": {"memory_id": "", "user_id": "ana"},
}


@pytest.mark.parametrize("op", BEYOND)
def test_an_operation_beyond_one_memory_needs_a_record_of_its_kind(services, client, op):
    memory_id = added(services, client)
    batch = client.batch_update([{"memory_id": memory_id, "text": "new"}])
    chunk = services.keys.job(f"{batch.id}:0")
    services.control.hset(chunk, "payload", json.dumps({"operations": [{"op": op, **BEYOND[op]}]}))
    drain_all(services)
    (letter,) = client.dead_letters()
    assert (letter.error["code"], letter.error["details"]) == ("PAYLOAD_UNREADABLE", {"field": "kind"})
    assert client.get(memory_id).memory == "I dislike seafood."


@pytest.mark.parametrize("place", ["the list of jobs", "the watched records"])
def test_erasing_a_user_leaves_the_other_projects_jobs_of_that_name_alone(services, client, other, foreign, place):
    before = keys_of(services, foreign)
    added(services, client)
    theirs = other.add("theirs", user_id="ana", infer=False)
    payload = services.control.hget(services.keys.job(theirs.id), "payload")
    erasure = client.erase_user("ana")
    if place == "the list of jobs":
        services.control.zadd(services.keys.jobs("default"), {theirs.id: 5})
    else:
        rewrite(services, erasure, lambda it: it["operations"][0].update(watched=[theirs.id], unfinished=[foreign]))
    drain(services, erasure)
    assert services.control.hget(services.keys.job(theirs.id), "payload") == payload
    (item,) = erasure.wait(1).results
    assert item.erased["memories"] == 1
    assert keys_of(services, foreign).items() >= {key: before[key] for key in list(before)[:2]}.items()


def test_an_unfinished_erasure_of_another_project_is_none_of_this_users(services, client, foreign):
    added(services, client)
    services.data.zadd(services.keys.erasures, {foreign: 1})
    services.data.hset(services.keys.memory(foreign), "erased_user", "ana")
    before = keys_of(services, foreign)
    erasure = client.erase_user("ana")
    drain(services, erasure)
    (item,) = erasure.wait(1).results
    assert (item.erased["memories"], item.erased["failed"]) == (1, 0)
    assert keys_of(services, foreign) == before
    services.data.delete(services.keys.erasures)


def test_damaged_results_that_name_a_user_do_not_hold_up_the_erasure(services, client):
    job = client.update(added(services, client), "new")
    drain(services, job)
    services.control.hset(services.keys.job(job.id), "results", '["ana", {"user_id": "ana"')
    erasure = client.erase_user("ana")
    drain(services, erasure)
    assert erasure.wait(1).status == "succeeded"


def test_a_record_about_one_memory_whose_payload_changes_another_one_is_unreadable(services, client):
    shown, changed = added(services, client), added(services, client, "other fact")
    job = client.update(shown, "new")
    rewrite(services, job, lambda payload: payload["operations"][0].update(memory_id=changed))
    drain(services, job)
    letter = client.dead_letter(job.id)
    assert (letter.error["code"], letter.error["details"]) == ("PAYLOAD_UNREADABLE", {"field": "memory_id"})
    assert client.get(changed).memory == "other fact"


def test_a_result_that_names_another_projects_memory_shows_no_text_of_it(services, client, foreign):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    drain(services, job)
    record = services.keys.job(job.id)
    for item in (
        {"memory_id": foreign, "event": "UPDATE", "version": 2, "error": None},
        {"memory_id": foreign, "error": {"code": "VERSION_MISMATCH", "message": "x", "type": "ConflictError"}},
    ):
        services.control.hset(record, "results", json.dumps([item]))
        assert SECRET not in job.wait(1).model_dump_json()


def test_a_list_of_conflicts_that_names_another_projects_memory_shows_none_of_it(services, client, other, foreign):
    first = other.update(foreign, "ours", expected_version=1, on_conflict="manual")
    put_aside(services, foreign, first)
    drain(services, other.update(foreign, "theirs"))
    let_time_pass(services)
    drain_all(services)
    (conflict,) = other.conflicts()
    services.control.zadd(services.keys.conflicts("default"), {conflict.id: 1})
    assert client.conflicts() == []
    with pytest.raises(EmendoError):
        client.conflict(conflict.id)
    drain_all(services)
    assert as_text(services.data.hget(services.keys.memory(foreign), "project")) == "other"


def test_another_projects_records_in_the_lists_of_this_one_are_not_shown_or_run(services, client, other, foreign):
    other.update(foreign, "waits")
    (job,) = [each for each in other.jobs() if each.status == "queued"]
    control, keys = services.control, services.keys
    control.zadd(keys.jobs("default"), {job.job_id: 9e15})
    control.zadd(keys.dead("default"), {job.job_id: 1})
    assert job.job_id not in [each.job_id for each in client.jobs()]
    assert client.dead_letters() == []
    assert (client.replay_all(), client.discard_all()) == (0, 0)
    seen = Job(client, job.job_id)
    for call in (seen.status, seen.cancel, *(partial(each, job.job_id) for each in (client.replay, client.discard))):
        with pytest.raises(EmendoError):
            call()
    with pytest.raises(EmendoError):
        client.dead_letter(job.job_id)
    control.hset(keys.job(job.job_id), "id", "another id")
    assert other.job(job.job_id).status() == "queued"
    control.zrem(keys.dead("default"), job.job_id)
