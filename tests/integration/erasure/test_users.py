"""Erasing a person: every memory of the user, and what jobs, dead letters, conflicts and dry runs hold of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ValidationError
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.shards import queue_of
from emendo_workers.intake.drain import Drain
from emendo_workers.memories.erasure import finish_abandoned
from emendo_workers.user_erasure import run as user_erasure
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.erasing import LABEL, OWNER, PRIVATE, SECRET, assert_nothing_is_left, everything, secret_memory
from tests.support.intake import added, drain, drain_all, let_time_pass, shard_of_job
from tests.support.patience import until


def finished(services, job):
    """The job's result after as many attempts as it takes."""
    for _ in range(30):
        drain(services, job)
        if job.status().is_final:
            return job.wait(1, raise_on_failure=True)
        let_time_pass(services)
    raise AssertionError("the job does not end")


def erased(services, client, user_id=OWNER) -> dict[str, int]:
    (item,) = finished(services, client.erase_user(user_id)).results
    return item.erased


def test_all_of_a_user_goes_and_all_of_others_stays(services, client, openai_server, emendo_settings):
    memory_id = secret_memory(services, client)
    gone = client.add(f"{SECRET} deleted", user_id=OWNER, agent_id="agent", infer=False)
    drain(services, gone)
    drain(services, client.delete(gone.wait(1).results[0].memory_id))
    openai_server.faults.add(Fault("bad_request", times=100, match="unbearable"))
    letter = client.add(f"unbearable {SECRET}", user_id=OWNER, infer=False)
    client.update(memory_id, f"unbearable {SECRET}", actor_id=OWNER)  # an update names no user but its author
    mixed = client.batch_add(
        [{"messages": f"unbearable {SECRET}", "user_id": OWNER}, {"messages": "unbearable ana", "user_id": "ana"}],
        infer=False,
    )
    drain_all(services)
    kept = added(services, client, "fact of ana")
    with MemoryClient(emendo_settings, project="another") as stranger:
        theirs = added(services, stranger, "a namesake")
        waiting = client.add(SECRET, user_id=OWNER, infer=False)
        counts = erased(services, client)
        assert stranger.get(theirs).memory == "a namesake"
    assert counts == {"memories": 2, "jobs": 1, "dead_letters": 2, "dry_runs": 0, "failed": 0}
    drain_all(services)
    assert waiting.wait(1).error["code"] == "MEMORY_ERASED"
    assert client.get(kept).memory == "fact of ana"
    assert client.conflicts() == []
    openai_server.faults.clear()
    client.replay(letter.id)
    client.replay(mixed.id)
    drain_all(services)
    assert [(item.error or {}).get("code") for item in mixed.wait(1).results] == ["MEMORY_ERASED", None]
    assert client.get_all(OWNER, include_deleted=True).total == 0
    assert_nothing_is_left(services, OWNER)


@pytest.mark.parametrize("way", ["erase_user", "delete_all"])
def test_what_has_expired_goes_too(services, client, way):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    drain(services, client.add(SECRET, user_id=OWNER, expires_at=soon, infer=False))
    until(lambda: client.get_all(OWNER).total == 0)
    assert SECRET in everything(services), "it is only hidden"
    if way == "erase_user":
        assert erased(services, client)["memories"] == 1
    else:
        client.delete_all(OWNER, hard=True)
        drain_all(services)
    assert_nothing_is_left(services)


def test_a_conversation_and_a_dry_run_lose_what_they_say_of_the_user(services, client, model):
    dry = client.add(f"I like {SECRET}.", user_id=OWNER, dry_run=True)
    drain_all(services)
    assert SECRET in everything(services)
    waiting = client.add(f"I like {SECRET} more.", user_id=OWNER)
    counts = erased(services, client)
    assert (counts["jobs"], counts["dry_runs"]) == (1, 1)
    drain_all(services)
    assert waiting.wait(1).status == "failed"
    assert dry.wait(1).status == "succeeded"
    assert_nothing_is_left(services, OWNER)


def test_a_job_that_is_being_worked_meanwhile_is_waited_for(services, client, monkeypatch):
    """Its worker read the payload before the erasure, and adds the memory after the first look at the memories."""
    late = client.add(SECRET, user_id=OWNER, infer=False)
    job = client.erase_user(OWNER)
    shard, real, jobs = shard_of_job(services, job), user_erasure.clear_page, []
    monkeypatch.setattr(user_erasure, "clear_page", lambda *arguments: jobs.append(real(*arguments)) or jobs[0])
    services.control.hset(services.keys.job(late.id), "status", "running")
    Drain(services, shard).run()
    assert jobs[0].watched == [late.id]
    assert job.status() == "retrying"
    # A batch has other shards than single jobs: this drain cannot take the late job, too.
    effect = client.batch_add([{"messages": f"{SECRET} late", "user_id": OWNER}], infer=False)
    chunk_shard = services.control.hget(services.keys.job(f"{effect.id}:0"), "shard").decode()
    Drain(services, chunk_shard).run()
    services.control.hset(services.keys.job(late.id), "status", "queued")
    assert finished(services, job).results[0].erased["memories"] == 1
    drain_all(services)
    assert late.status() == "failed"
    assert_nothing_is_left(services)


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_at_any_step_leaves_a_job_that_goes_on(services, client, monkeypatch, after):
    monkeypatch.setattr(user_erasure, "_MEMORIES", 2)
    deaths = 0
    for step in range(1, 60):
        for n in range(3):
            added(services, client, f"fact {n}")
        job = client.erase_user("ana")
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                drain(services, job)
            except Killed:
                deaths += 1
            else:
                break
        services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
        for key in services.data.keys(services.keys.lock("*")):
            services.data.delete(key)
        finished(services, job)
        assert client.get_all("ana", include_deleted=True).total == 0, f"died at step {step}"
    assert deaths >= 5
    finish_abandoned(services.store, time.time() + 600)  # those that were announced and never committed


def test_it_is_worked_on_a_maintenance_shard_and_can_be_asked_for_twice(services, client):
    added(services, client)
    first, second = client.erase_user("ana"), client.erase_user("ana")
    assert queue_of(shard_of_job(services, first)) == "maintenance"
    totals = [finished(services, job).results[0].erased["memories"] for job in (first, second)]
    assert totals == [1, 0]


@pytest.mark.parametrize("user_id", [None, "", 7])
def test_a_user_that_is_none_is_refused(client, user_id):
    with pytest.raises(ValidationError):
        client.erase_user(user_id)


def test_delete_all_hides_a_scope_and_with_hard_erases_what_was_hidden_too(services, client):
    secret = client.add(SECRET, user_id=OWNER, run_id="r1", metadata={LABEL: PRIVATE}, infer=False)
    other = client.add("stays", user_id=OWNER, run_id="r2", infer=False)
    drain_all(services)
    assert client.delete_all(run_id="no-such-run") is None
    client.delete_all(run_id="r1")
    drain_all(services)
    assert client.get_all(run_id="r1").total == 0
    (hidden,) = client.get_all(run_id="r1", include_deleted=True).results
    assert (hidden.memory, hidden.is_deleted) == (SECRET, True)
    assert hidden.id == secret.wait(1).results[0].memory_id
    job = client.delete_all(OWNER, run_id="r1", hard=True)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert_nothing_is_left(services)
    assert client.get(other.wait(1).results[0].memory_id).memory == "stays"
    with pytest.raises(ValidationError):
        client.delete_all()


async def test_the_async_client_does_the_same(services, client, emendo_settings):
    added(services, client)
    async with AsyncMemoryClient(emendo_settings) as twin:
        job = await twin.erase_user("ana")
        assert (await twin.get_all("ana", include_deleted=True)).total == 1
        Drain(services, (services.control.hget(services.keys.job(job.id), "shard")).decode()).run()
        assert (await job.wait(1)).results[0].erased["memories"] == 1
        assert await twin.delete_all("ana", hard=True) is None


def test_the_command_asks_first_and_reports(services, client, cli, emendo_settings):
    added(services, client)
    code, _, _ = cli(emendo_settings, "erase", "--user", "ana", "--no-wait", "--json")
    assert code != 0, "nobody can be asked here"
    code, out, _ = cli(emendo_settings, "erase", "--user", "ana", "--no-wait", "--yes", "--json")
    assert (code, '"status"' in out) == (0, True)
    drain_all(services)
    assert client.get_all("ana", include_deleted=True).total == 0
