"""A project's windows and quota: what one tenant has waiting delays no other tenant."""

from __future__ import annotations

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import JobTimeoutError, QuotaExceededError
from emendo_client.testing.openai_server.faults import Fault
from emendo_config import Keys
from emendo_config.project_limits import CHUNKS, IMPORTED, LANES, SINGLE
from emendo_config.store.pipeline import as_text
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from tests.support.intake import (
    added,
    bring_back,
    drain,
    drain_all,
    let_time_pass,
    shard_of_job,
    shards_with_work,
    with_settings,
)


@pytest.fixture(autouse=True)
def small_windows(services, client):
    with_settings(services, client, project_window_chunks=2, project_window_conversations=2, chunk_items=1)


@pytest.fixture
def other(services):
    with MemoryClient(services.settings, project="other") as made:
        yield made


def imported(client, count, **more):
    items = [{"messages": f"fact {n}", "user_id": f"user {n}", **more} for n in range(count)]
    return client.batch_add(items, infer=False)


def conversations(client, count):
    return client.batch_add([{"messages": f"I like {n}.", "user_id": f"user {n}"} for n in range(count)])


def in_inboxes(services):
    keys = services.keys
    return [
        as_text(fields[b"job"])
        for shard in shards_with_work(services)
        for _, fields in services.control.xrange(keys.inbox(shard))
    ]


def window(services, lane, project="default"):
    return {as_text(each) for each in services.control.smembers(services.keys.admitted(lane, project))}


def waiting(services, lane, project="default"):
    members = services.control.lrange(services.keys.waiting(lane, project), 0, -1)
    return [as_text(member).partition(":")[2] for member in members]


def open_jobs(services, project="default"):
    return services.control.zcard(services.keys.open_jobs(project))


def side_by_side(services, client, other, **settings):
    """The chunks' window as it is by default, with few shards."""
    with_settings(services, client, **{"project_window_chunks": None, **settings})
    other.settings = services.settings


def lengths(services):
    keys, settings = services.keys, services.settings
    return [services.control.xlen(keys.inbox(f"bulk-{place}")) for place in range(settings.bulk_shards)]


def record(services, record_id, field):
    return as_text(services.control.hget(services.keys.job(record_id), field))


def shard_number(shard):
    return int(shard.removeprefix("bulk-"))


def end(services, record_id):
    """Ends a record as a worker without windows does."""
    services.control.hset(services.keys.job(record_id), "status", "succeeded")
    services.control.expire(services.keys.job(record_id), 60)


def nothing_is_left(services, *, open_too=True):
    for project in ("default", "other"):
        assert not open_too or open_jobs(services, project) == 0
        for lane in LANES:
            assert not window(services, lane, project)
            assert not waiting(services, lane, project)


def test_a_batch_has_a_window_of_chunks_in_the_inboxes_and_the_rest_waits_in_order(services, client):
    job = imported(client, 5)
    assert set(in_inboxes(services)) == window(services, CHUNKS) == {f"{job.id}:0", f"{job.id}:1"}
    assert waiting(services, CHUNKS) == [f"{job.id}:{number}" for number in (2, 3, 4)]
    assert job.status() == "queued"
    assert services.control.hget(services.keys.job(f"{job.id}:4"), "status") == b"queued"


def test_another_projects_batch_does_not_wait_behind_it(services, client, other):
    imported(client, 40)
    theirs = imported(other, 2)
    assert {f"{theirs.id}:0", f"{theirs.id}:1"} <= set(in_inboxes(services))
    assert len(in_inboxes(services)) == 4


def test_each_chunk_that_ends_admits_the_next_one_until_all_are_done(services, client):
    job = imported(client, 7)
    with_settings(services, client, drain_budget=0.0)  # a drain takes one chunk
    seen = []
    while shards := shards_with_work(services):
        seen.append(set(in_inboxes(services)))
        assert len(seen[-1]) <= 2
        Drain(services, shards[0]).run()
    assert job.wait(1, raise_on_failure=True).status == "succeeded"
    assert set.union(*seen) == {f"{job.id}:{number}" for number in range(7)}
    nothing_is_left(services)


def test_the_shard_of_an_admitted_chunk_is_woken(services, client):
    imported(client, 3)
    first, *_ = shards_with_work(services)
    Drain(services, first).run()
    for shard in shards_with_work(services):
        assert services.control.exists(services.keys.wakeup(shard))


def test_a_projects_chunks_stand_side_by_side_and_leave_an_inbox_to_others(services, client, other):
    side_by_side(services, client, other, bulk_shards=9)
    for _ in range(9):  # batches whose own shards meet
        imported(client, 1)
    assert sorted(lengths(services)) == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    for _ in range(3):
        imported(other, 1)
    assert lengths(services) == [1] * 9, "another project's chunks stand before nobody and behind nobody"
    drain_all(services)
    nothing_is_left(services)


def test_another_projects_chunk_waits_for_one_chunk_and_its_place_is_taken_behind_it(services, client, other):
    side_by_side(services, client, other, bulk_shards=4, project_window_chunks=4, drain_budget=0.0)
    job = imported(client, 12)
    theirs = imported(other, 1)
    shard = record(services, f"{theirs.id}:0", "shard")
    assert lengths(services)[shard_number(shard)] == 2
    assert Drain(services, shard).run() == 1
    assert theirs.status() == "queued"
    assert record(services, f"{job.id}:4", "shard") == shard, "the next chunk takes the shard of the one that ended"
    assert Drain(services, shard).run() == 1
    assert theirs.wait(1).status == "succeeded"
    assert job.progress().done == 1
    assert lengths(services) == [1] * 4
    drain_all(services)
    nothing_is_left(services)


def test_chunks_that_were_handed_over_for_the_chat_model_stay_where_they_are(services, client, other):
    side_by_side(services, client, other, bulk_shards=2, project_window_chunks=2, drain_budget=0.0)
    job = imported(client, 5)
    keys, control = services.keys, services.control
    assert waiting(services, CHUNKS)[0] == f"{job.id}:2"
    own = record(services, f"{job.id}:2", "shard")
    control.hset(keys.job(f"{job.id}:0"), "shard", "inference-3")  # as an attempt does that hands it over
    Drain(services, own).run()
    assert record(services, f"{job.id}:2", "shard") == own
    control.lset(keys.waiting(CHUNKS, "default"), 0, f"inference-3:{job.id}:3")
    control.hset(keys.job(f"{job.id}:3"), "shard", "inference-3")
    Drain(services, own).run()
    assert f"{job.id}:3" in [as_text(fields[b"job"]) for _, fields in control.xrange(keys.inbox("inference-3"))]
    drain_all(services)
    assert job.wait(1).status == "succeeded"


def test_an_inbox_of_another_type_is_passed_over(services, client, other):
    side_by_side(services, client, other, bulk_shards=3, project_window_chunks=3, drain_budget=0.0)
    job = imported(client, 4)
    keys, control = services.keys, services.control
    first, second, third = (record(services, f"{job.id}:{number}", "shard") for number in range(3))
    control.delete(keys.inbox(first))
    control.set(keys.inbox(first), "damaged", ex=60)
    control.xadd(keys.inbox(second), {"job": "gone"})  # so it is not the emptiest at first sight
    Drain(services, second).run()
    assert record(services, f"{job.id}:3", "shard") == second
    for shard in (second, second, third):
        Drain(services, shard).run()
    assert job.progress().done == 3


def test_single_inferred_adds_never_stand_behind_imported_ones(services, client, other, model):
    conversations(client, 9)
    single = client.add("I like tea.", user_id="user 1")
    theirs = other.add("I like tea.", user_id="ana")
    assert len(window(services, IMPORTED)) == 2
    for job in (single, theirs):
        shard = shard_of_job(services, job)
        (entry,) = services.control.xrange(services.keys.inbox(shard))
        assert entry[1] == {b"job": job.id.encode()}
        drain(services, job)
        assert job.wait(1).status == "succeeded"
    assert len(waiting(services, IMPORTED)) == 7, "none of them was needed first"
    drain_all(services)
    nothing_is_left(services)


def test_one_projects_single_adds_have_a_window_too(services, client, other, model):
    jobs = [client.add(f"I like {n}.", user_id=f"user {n}") for n in range(5)]
    theirs = other.add("I like tea.", user_id="ana")
    assert window(services, SINGLE) == {job.id for job in jobs[:2]}
    assert waiting(services, SINGLE) == [job.id for job in jobs[2:]]
    assert theirs.id in in_inboxes(services)
    drain_all(services)
    assert {job.wait(1).status for job in [*jobs, theirs]} == {"succeeded"}
    nothing_is_left(services)


def test_single_changes_have_no_window(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(9)]
    assert set(in_inboxes(services)) == {job.id for job in jobs}


def test_a_cancelled_add_gives_its_place_to_the_next_one(services, client, model):
    jobs = [client.add(f"I like {n}.", user_id=f"user {n}") for n in range(4)]
    assert jobs[0].cancel(timeout=0)
    assert window(services, SINGLE) == {jobs[1].id, jobs[2].id}
    assert jobs[3].cancel(timeout=0)
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["cancelled", "succeeded", "succeeded", "cancelled"]
    nothing_is_left(services)


def test_a_cancelled_batch_gives_all_its_places_back(services, client):
    job = imported(client, 9)
    another = imported(client, 2)
    with pytest.raises(JobTimeoutError):
        job.cancel(timeout=0)
    drain_all(services)
    assert job.wait(1).status == "cancelled"
    assert another.wait(1).status == "succeeded"
    nothing_is_left(services)


def test_a_chunk_that_is_put_aside_keeps_its_place(services, client, openai_server):
    openai_server.faults.add(Fault("server_error", rate=1.0))
    job = imported(client, 5)
    drain_all(services)
    assert window(services, CHUNKS) == {f"{job.id}:0", f"{job.id}:1"}
    assert len(waiting(services, CHUNKS)) == 3, "an outage does not move the whole batch to the delayed jobs"
    openai_server.faults.clear()
    for _ in range(3):
        let_time_pass(services)
        drain_all(services)
    assert job.wait(1).status == "succeeded"
    nothing_is_left(services)


def test_dead_chunks_give_their_places_back_and_a_replay_takes_them_again(services, client, openai_server):
    with_settings(services, client, max_attempts=1)
    openai_server.faults.add(Fault("bad_request", rate=1.0))
    job = imported(client, 5)
    drain_all(services)
    assert job.wait(1).status == "failed"
    nothing_is_left(services)
    openai_server.faults.clear()
    client.replay(job.id)
    assert len(in_inboxes(services)) == 2
    assert len(waiting(services, CHUNKS)) == 3
    assert open_jobs(services) == 5
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    nothing_is_left(services)


def test_records_that_ended_without_giving_their_place_back_are_found_in_one_look(services, client):
    """An older worker knows no windows, and a record may be lost."""
    job = imported(client, 5)
    keys, control = services.keys, services.control
    end(services, f"{job.id}:0")
    control.delete(keys.job(f"{job.id}:1"))
    Sweeper(services).sweep()
    assert window(services, CHUNKS) == {f"{job.id}:2", f"{job.id}:3"}
    assert waiting(services, CHUNKS) == [f"{job.id}:4"]
    drain_all(services)
    nothing_is_left(services, open_too=False)


def test_a_window_that_was_lost_is_filled_again(services, client):
    job = imported(client, 5)
    services.control.delete(services.keys.admitted(CHUNKS, "default"))
    for shard in shards_with_work(services):
        Drain(services, shard).run()
    for _ in range(2):
        Sweeper(services).sweep()
        drain_all(services)
    assert job.wait(1).status == "succeeded"
    nothing_is_left(services)


def test_records_of_an_older_client_are_worked_without_a_window(services, client):
    job = imported(client, 2)
    keys, control = services.keys, services.control
    for number in range(2):
        control.hdel(keys.job(f"{job.id}:{number}"), "lane")
    control.delete(keys.admitted(CHUNKS, "default"))
    drain_all(services)
    assert job.wait(1).status == "succeeded"


def test_a_client_that_repeats_an_append_counts_each_chunk_once(services, client):
    with client.batch() as batch:
        for number in range(5):
            batch.add(f"fact {number}", user_id="ana")
    drain_all(services)
    nothing_is_left(services)


def test_beyond_its_quota_a_project_is_refused_and_nothing_is_enqueued(services, client, other):
    with_settings(services, client, project_max_waiting=2)
    memory_id = added(services, client)
    for number in range(2):
        client.update(memory_id, f"text {number}")
    before = set(services.control.scan_iter(f"{services.keys.prefix}*"))
    for call in (
        lambda: client.update(memory_id, "one too many", idempotency_key="key"),
        lambda: client.add("one too many", user_id="ana"),
        lambda: imported(client, 1),
    ):
        with pytest.raises(QuotaExceededError) as refused:
            call()
        assert refused.value.error_code == "QUOTA_EXCEEDED"
        assert refused.value.details == {"project": "default", "open": 2, "limit": 2}
        assert "EMENDO_PROJECT_MAX_WAITING" in refused.value.suggestion
    assert set(services.control.scan_iter(f"{services.keys.prefix}*")) == before
    assert other.add("another project", user_id="ana", infer=False).status() == "queued"
    drain_all(services)
    client.update(memory_id, "there is room again", idempotency_key="key")
    drain_all(services)
    nothing_is_left(services)


def test_a_repeated_call_is_not_refused(services, client):
    with_settings(services, client, project_max_waiting=1)
    first = client.add("a fact", user_id="ana", infer=False, idempotency_key="key")
    again = client.add("a fact", user_id="ana", infer=False, idempotency_key="key")
    assert again.id == first.id


def test_an_append_beyond_the_quota_is_refused_whole(services, client):
    with_settings(services, client, project_max_waiting=3)
    with pytest.raises(QuotaExceededError):
        imported(client, 4)
    assert in_inboxes(services) == []
    assert client.jobs() == []
    assert imported(client, 3).status() == "queued"


def test_jobs_that_an_older_worker_ended_do_not_count(services, client):
    with_settings(services, client, project_max_waiting=2)
    jobs = [client.add(f"fact {n}", user_id="ana", infer=False) for n in range(2)]
    end(services, jobs[0].id)
    services.control.delete(services.keys.job(jobs[1].id))
    for n in range(2):
        client.add(f"new fact {n}", user_id="ana", infer=False)
    assert open_jobs(services) == 2


@pytest.mark.parametrize("ending", ["weak", "cancelled", "failed", "retried"])
def test_however_a_job_ends_it_counts_no_longer(services, client, openai_server, ending):
    memory_id = added(services, client)
    if ending == "failed":
        job = client.update(memory_id, "x", expected_version=7)
    else:
        job = client.update(memory_id, "x", consistency="weak" if ending == "weak" else "eventual")
    assert open_jobs(services) == 1
    if ending == "cancelled":
        assert job.cancel(timeout=0)
    elif ending == "retried":
        openai_server.faults.add(Fault("server_error", rate=1.0))
        drain(services, job)
        assert open_jobs(services) == 1
        openai_server.faults.clear()
        bring_back(services, job)
    drain_all(services)
    assert open_jobs(services) == 0


def test_the_names_of_the_keys():
    keys = Keys()
    assert keys.waiting(CHUNKS, "acme") == "emendo:waiting:bulk:acme"
    assert keys.admitted(SINGLE, "acme") == "emendo:admitted:inference:acme"
    assert keys.open_jobs("acme") == "emendo:open:acme"


async def test_the_asyncio_client_is_refused_too(services, client):
    with_settings(services, client, project_max_waiting=1)
    async with AsyncMemoryClient(services.settings) as asynchronous:
        await asynchronous.add("a fact", user_id="ana", infer=False)
        with pytest.raises(QuotaExceededError):
            await asynchronous.add("a fact", user_id="ana", infer=False)


def test_what_cannot_be_read_on_a_waiting_list_holds_nobody_back(services, client):
    job = imported(client, 4)
    keys, control = services.keys, services.control
    control.lpush(keys.waiting(CHUNKS, "default"), "no member", "3:gone", "4:damaged")
    control.set(keys.job("damaged"), "no record", ex=60)
    for _ in range(2):
        Sweeper(services).sweep()
        drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert not waiting(services, CHUNKS)
    control.delete(keys.job("damaged"))


def test_the_health_check_counts_what_waits_for_a_window(services, client, other):
    imported(client, 5)
    imported(other, 3)
    assert (client.health().queued, client.health().waiting) == (4, 4)
