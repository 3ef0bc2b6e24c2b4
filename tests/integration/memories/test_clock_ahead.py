"""Redis' clock was an hour ahead and was set back: order is kept, and times are real."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from emendo_config.store import scripts
from emendo_ops.doctor.control_redis import check_jobs
from tests.support.intake import added, drain, drain_all

_HOUR = 3_600_000_000


@pytest.fixture
def _ahead(services):
    """The newest submission time is that of the clock when it was ahead."""
    services.control.set(services.keys.clock, str(time.time_ns() // 1_000 + _HOUR))


def is_now(moment) -> bool:
    return abs(moment.timestamp() - time.time()) < 60


@pytest.mark.usefixtures("_ahead")
def test_the_times_of_memories_and_their_history_are_real(services, client):
    memory_id = added(services, client)
    drain(services, client.update(memory_id, "I like seafood."))
    memory = client.get(memory_id)
    assert is_now(memory.created_at)
    assert is_now(memory.updated_at)
    assert all(is_now(entry.updated_at) for entry in client.history(memory_id))


@pytest.mark.usefixtures("_ahead")
def test_the_newest_submission_still_wins(services, client):
    memory_id = added(services, client)
    first, second = client.update(memory_id, "first"), client.update(memory_id, "second")
    submitted = [int(services.control.hget(services.keys.job(job.id), "submitted")) for job in (first, second)]
    assert time.time_ns() // 1_000 + _HOUR - 60_000_000 < submitted[0] < submitted[1]
    services.control.hset(services.keys.job(first.id), "submitted", submitted[1] + 1)
    drain_all(services)
    assert client.get(memory_id).memory == "first", "its submission is the newer one"


@pytest.mark.usefixtures("_ahead")
def test_a_late_update_is_merged_with_what_it_was_made_from(services, client):
    memory_id = added(services, client, "one two three")
    late = client.update(memory_id, metadata={"a": 1}, on_conflict="manual")
    drain_id = services.control.hget(services.keys.job(late.id), "shard")
    entries = services.control.xrange(services.keys.inbox(drain_id.decode()))
    services.control.delete(services.keys.inbox(drain_id.decode()))
    drain(services, client.update(memory_id, metadata={"a": 2, "b": 2}))
    for _, fields in entries:
        services.control.xadd(services.keys.inbox(drain_id.decode()), fields)
    drain_all(services)
    conflict = client.conflicts()[0]
    assert conflict.base_metadata == {"a": None}, "the base is found by submission, whatever the clock"


@pytest.mark.usefixtures("_ahead")
def test_the_doctor_shows_how_far_it_is_ahead(services, client):
    assert 3_500 < client.health().clock_ahead_seconds <= 3_600
    finding = next(each for each in check_jobs(services.settings) if each.check == "clock")
    assert (finding.state, "s ahead" in finding.found) == ("warn", True)


def test_without_a_jump_nothing_is_ahead(services, client):
    added(services, client)
    finding = next(each for each in check_jobs(services.settings) if each.check == "clock")
    assert finding.state == "ok"


@pytest.mark.usefixtures("_ahead")
def test_a_purge_finds_what_was_deleted_by_the_real_time(services, client):
    gone, restored = added(services, client, "gone"), added(services, client, "restored")
    for memory_id in (gone, restored):
        drain(services, client.delete(memory_id))
    job = client.purge(datetime.now(UTC) + timedelta(minutes=1))
    drain(services, client.restore(restored))
    assert job is not None
    drain_all(services)
    assert {item.memory_id: item.event for item in job.wait(1).results} == {gone: "DELETE", restored: None}
    assert client.get(restored).memory == "restored"


@pytest.mark.parametrize("stored", ["inf", "nan", "1e400", "0x7fffffffffffff", "-1", "", "?", "9" * 18], ids=repr)
def test_a_damaged_clock_is_set_right_by_the_next_submission(services, client, stored):
    services.control.set(services.keys.clock, stored)
    job = client.add("I like tea.", user_id="u", infer=False)
    drain(services, job)
    batch = client.batch_add([{"messages": "I like milk.", "user_id": "u"}], infer=False)
    drain_all(services)
    assert job.wait(1).status == batch.wait(1).status == "succeeded"
    assert is_now(datetime.fromtimestamp(int(services.control.get(services.keys.clock)) / 1_000_000, UTC))


def test_a_damaged_clock_is_raised_to_a_time_that_a_memory_knows(services):
    services.control.set(services.keys.clock, "?")
    newest = time.time_ns() // 1_000 + _HOUR
    assert scripts.run(services.control, [scripts.raise_clock(clock=services.keys.clock, newest=newest)]) == [1]
    assert int(services.control.get(services.keys.clock)) == newest


def test_health_reads_a_damaged_clock_as_none(services, client):
    services.control.set(services.keys.clock, "?")
    health = client.health()
    assert (health.problem, health.clock_ahead_seconds) == (None, 0)
