"""A re-embedding that is paused, cancelled, rolled back, finalized, or stuck; and two workers at one step of it."""

from __future__ import annotations

import time

import pytest

from emendo_client.errors import ConflictError, JobTimeoutError, NetworkError, VectorStoreError
from emendo_client.exchanges.reembedding.control import FINALIZE, ROLL_BACK
from emendo_client.testing import Fault
from emendo_config.spaces.registry import read_registry
from emendo_workers.intake import dispatch
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.operations import Migrate
from emendo_workers.jobs.work import Work
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.reembedding.chunks import embed_chunk
from emendo_workers.reembedding.migration import Migration
from emendo_workers.reembedding.phases import take_steps
from emendo_workers.reembedding.switch import point_alias, switch
from tests.support.intake import drain, drain_all, let_time_pass
from tests.support.migrating import (
    active_space,
    assert_only,
    migrations_told,
    reembedded,
    until,
    until_phase,
    work_until,
    worked,
)
from tests.support.spaces import assert_right, listed


def test_paused_it_stands_still_and_resumed_it_goes_on(services, client, store):
    job = client.reembed(dimensions=32)
    until_phase(services, client, "backfill")
    client.pause_reembed()
    for _ in range(5):
        drain_all(services)
        let_time_pass(services)
    state = client.migration()
    assert (state.phase, state.paused) == ("backfill", True)
    Sweeper(services).sweep()  # it is put aside for a while by now
    client.resume_reembed()
    assert not client.migration().paused
    assert worked(services, job).status == "succeeded"


def test_paused_before_it_began_it_does_not_begin_to_look(services, client):
    job = client.reembed(dimensions=32)
    client.pause_reembed()
    for _ in range(5):
        drain_all(services)
        let_time_pass(services)
    assert client.migration().phase == "backfill"
    client.resume_reembed()
    assert worked(services, job).status == "succeeded"


def test_cancelled_it_leaves_nothing(services, client, store):
    first = active_space(services)
    job = client.reembed("text-embedding-3-large", 32)
    until_phase(services, client, "verifying")
    with pytest.raises(JobTimeoutError):
        job.cancel(timeout=0.0)
    assert worked(services, job).status == "cancelled"
    assert_only(services, store, first)
    assert client.get(store[0]).embedding_model == first.space.model
    assert migrations_told(services) == []


def test_cancelled_before_it_began_it_lets_the_next_one_begin(services, client, store):
    job = client.reembed(dimensions=32)
    with pytest.raises(JobTimeoutError):
        job.cancel(timeout=0.0)
    assert worked(services, job).status == "cancelled"
    assert worked(services, client.reembed(dimensions=48)).status == "succeeded"


def test_rolled_back_the_old_space_answers_with_what_was_written_since(services, client, store):
    first = active_space(services)
    reembedded(services, client, dimensions=32)
    drain(services, client.update(store[0], "fact 0 was corrected"))
    assert worked(services, client.rollback_reembed()).status == "succeeded"
    assert_only(services, store, first)
    assert client.search("fact 0 was corrected", user_id="ana")[0].id == store[0]
    assert client.migration().phase == "rolled_back"
    with pytest.raises(ConflictError):
        client.rollback_reembed()


def test_the_switch_is_refused_while_a_memory_lacks_its_vector(services, client, store, openai_server):
    first = active_space(services)
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="fact 1"))
    job = client.reembed(dimensions=32)
    info = worked(services, job)
    assert info.status == "failed"
    assert info.error["code"] == "MISSING_VECTORS"
    assert info.error["details"] == {"missing": 1}
    assert list(client.migration().failures) == [store[1]]
    assert "fact" not in str(client.migration())
    assert [letter.job_id for letter in client.dead_letters()] == [job.id]
    assert active_space(services) == first
    assert migrations_told(services) == []

    openai_server.faults.clear()
    client.resume_reembed()
    assert worked(services, job).status == "succeeded"
    assert client.migration().failures == {}
    assert_right(services, store[1], first, active_space(services))


def test_it_goes_on_without_what_cannot_be_embedded_when_told_so(services, client, store, openai_server):
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="fact 1"))
    job = client.reembed(dimensions=32)
    worked(services, job)
    client.resume_reembed(allow_missing=True)
    assert worked(services, job).status == "succeeded"
    space = active_space(services)
    assert space.space.dimensions == 32
    assert space.name not in listed(services, store[1])
    assert client.migration().failed == 1


def test_a_failed_one_is_cleared_up(services, client, store, openai_server):
    first = active_space(services)
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="fact 1"))
    worked(services, client.reembed(dimensions=32))
    assert worked(services, client.rollback_reembed()).status == "succeeded"
    assert_only(services, store, first)
    assert client.migration().phase == "cancelled"


def test_the_old_space_goes_when_its_grace_is_over(services, client, store):
    space = reembedded(services, client, dimensions=32)
    now, before = time.time(), len(client.jobs())
    keep_house(services.store, services.notifier, now + services.settings.reembed_grace - 60)
    drain_all(services)
    let_time_pass(services)
    assert client.migration().phase == "switched"
    assert len(client.jobs()) == before
    for _ in range(3):  # beat may ask more than once
        keep_house(services.store, services.notifier, now + services.settings.reembed_grace + 60)
    work_until(services, lambda: client.migration().phase == "dropped")
    assert_only(services, store, space)


def test_of_two_workers_at_the_same_step_one_moves_on(services, client, store):
    client.reembed(dimensions=32)
    until_phase(services, client, "verifying")
    work = Work("none", "0-0", "reembed", "default", 1, 1, [])
    first, second = (
        Migration(services.store, services.notifier, work),
        Migration(services.store, services.notifier, work),
    )
    for migration in (first, second):
        switch(migration)
    assert migrations_told(services) == [client.migration().target]
    stale = services.control.hget(services.keys.migration, "switched_at")
    second.advance(
        {"switched_at": 0, "phase": "planned"}, feed_entry={"event": "MIGRATE", "space": "none"}, is_over=True
    )
    assert services.control.hget(services.keys.migration, "switched_at") == stale
    assert client.migration().active
    assert len(migrations_told(services)) == 1


def test_cancelled_just_when_the_alias_had_moved_it_moves_back(services, client, store):
    first = active_space(services)
    job = client.reembed(dimensions=32)
    until_phase(services, client, "verifying")
    point_alias(services.store, client.migration().target)  # and the worker died
    with pytest.raises(JobTimeoutError):
        job.cancel(timeout=0.0)
    assert worked(services, job).status == "cancelled"
    assert_only(services, store, first)


@pytest.mark.parametrize("goal", [FINALIZE, ROLL_BACK])
def test_a_job_that_was_to_end_another_one_leaves_this_one_alone(services, client, store, goal):
    """Its worker may have died when that one was over, before it could say so."""
    reembedded(services, client, dimensions=32)
    before = services.control.hgetall(services.keys.migration)
    asked = Migrate("old", "default", 1, "", goal=goal, migration="another")
    outcome = take_steps(Work("old", "0-0", "reembed", "default", 1, 1, [asked]), services)
    assert (outcome.status, outcome.error.error_code) == ("failed", "NO_MIGRATION")
    assert services.control.hgetall(services.keys.migration) == before


def test_a_job_is_over_with_its_re_embedding_so_that_the_next_one_is_not_taken_for_it(services, client, store):
    cancelled = client.reembed(dimensions=32)
    until_phase(services, client, "backfill")
    with pytest.raises(JobTimeoutError):
        cancelled.cancel(timeout=0.0)
    until(services, lambda: not client.migration().active)
    assert cancelled.status() == "cancelled"
    reembedded(services, client, dimensions=48)
    ended = client.finalize_reembed()
    until(services, lambda: not client.migration().active)
    assert ended.status() == "succeeded"


def test_before_the_old_vectors_go_every_memory_has_its_new_one(services, client, store):
    space = reembedded(services, client, dimensions=32)
    key = services.keys.memory(store[0])
    services.data.hset(key, "embedding_space", client.migration().source)
    services.data.hdel(key, space.field)
    assert worked(services, client.finalize_reembed()).status == "succeeded"
    assert_only(services, store, space)


def test_what_is_written_into_a_space_that_goes_is_removed_too(services, client, store):
    space = reembedded(services, client, dimensions=32)
    old = client.migration().source
    job = client.finalize_reembed()
    until_phase(services, client, "dropping")
    until(services, lambda: services.control.hget(services.keys.migration, "cursor") == b"end")
    # By a worker that had read the registry before.
    services.data.hset(services.keys.memory(store[0]), mapping={f"vector_{old}": b"\0" * 256})
    assert worked(services, job).status == "succeeded"
    assert_only(services, store, space)


def test_chunks_of_a_paused_one_wait_and_spend_no_attempts(services, client, store, openai_server):
    job = client.reembed(dimensions=32)
    until_phase(services, client, "backfill")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "embed_chunk", paused_first(client))
        drain_all(services)
        let_time_pass(services)
        drain_all(services)
    for memory_id in store:
        assert client.migration().target not in listed(services, memory_id)
    client.resume_reembed()
    assert worked(services, job).status == "succeeded"


def paused_first(client):
    def embed(work, services):
        client.pause_reembed()
        outcome = embed_chunk(work, services)
        assert outcome.refund
        return outcome

    return embed


def test_once_the_last_pass_has_begun_no_change_is_made_without_the_new_vector(services, client, store, monkeypatch):
    """Else one would slip in behind the pass, and no search would find it after the switch."""
    first = active_space(services)
    job = client.reembed("text-embedding-3-large", 32)
    until_phase(services, client, "verifying")
    (target,) = [record for record in read_registry(services.data, services.keys) if record.name != first.name]
    with monkeypatch.context() as patch:
        away = NetworkError("the provider is away", error_code="PROVIDER_UNAVAILABLE")
        patch.setattr(services.pipeline_of(target), "embed", lambda texts, meter=None: dict.fromkeys(texts, away))
        change = client.update(store[0], "changed just before the switch")
        drain(services, change)
        assert change.status() == "retrying"
        assert listed(services, store[0]) == sorted([first.name, target.name]), "and what was there is right"
    assert worked(services, job).status == "succeeded"
    assert worked(services, change).status == "succeeded"
    assert_right(services, store[0], first, target)


def test_a_store_in_which_nothing_is_to_be_filled_is_still_looked_through_once_more(services, client):
    client.reembed(dimensions=32)
    until_phase(services, client, "verifying")
    assert services.control.hget(services.keys.migration, "pass") == b"2"


@pytest.mark.parametrize(
    "fields",
    [{"phase": "dancing"}, {}, {"phase": "planned", "plan": "{"}, {"phase": "switched", "switched_at": "nan"}],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_a_clear_error(services, client, fields):
    services.control.hset(services.keys.migration, mapping={"job": "job", **fields})
    services.control.expire(services.keys.migration, 60)
    with pytest.raises(VectorStoreError) as refused:
        client.migration()
    assert "cannot be read" in refused.value.message
    assert refused.value.suggestion
