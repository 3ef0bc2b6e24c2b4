"""Sending a batch piece by piece: callers that break off, come back, go away, or send more than memory holds."""

from __future__ import annotations

import itertools
import threading
import tracemalloc

import pytest

from emendo_client.errors import ConflictError, JobError
from emendo_client.exchanges import accept
from emendo_client.requests.batches import APPEND_CHUNKS
from emendo_config.store import scripts
from emendo_config.store.scripts import execution
from emendo_workers.intake.sweeper import Sweeper
from tests.support.intake import account_of, added, drain_all, with_settings


class Gone(BaseException):
    """The caller's process ends here."""


def adds(count: int):
    return [{"messages": f"fact {n}", "user_id": "ana"} for n in range(count)]


def break_off_after(monkeypatch, client, calls: int) -> None:
    """The caller dies before its next call to Redis."""
    made, real = {"calls": 0}, client._run

    def run(exchange):
        if made["calls"] == calls:
            raise Gone
        made["calls"] += 1
        return real(exchange)

    monkeypatch.setattr(client, "_run", run)


def abandon(services, job_id: str) -> None:
    """The time without items is over."""
    services.control.zadd(services.keys.accepting, {job_id: 0})
    Sweeper(services).sweep()


def accepting(services) -> list[str]:
    return [raw.decode() for raw in services.control.zrange(services.keys.accepting, 0, -1)]


def texts(client) -> list[str]:
    return sorted(memory.memory for memory in client.get_all(user_id="ana", page_size=1_000).results)


def test_the_same_key_and_items_give_the_same_job_and_other_items_a_conflict(services, client):
    with_settings(services, client, chunk_items=2)
    job = client.batch_add(adds(5), infer=False, idempotency_key="k")
    assert client.batch_add(iter(adds(5)), infer=False, idempotency_key="k").id == job.id
    drain_all(services)
    assert client.batch_add(adds(5), infer=False, idempotency_key="k").id == job.id
    for other in (adds(6), adds(4), list(reversed(adds(5)))):
        with pytest.raises(ConflictError) as conflict:
            client.batch_add(other, infer=False, idempotency_key="k")
        assert conflict.value.details == {"job_id": job.id}
    assert drain_all(services) == 0
    assert texts(client) == sorted(f"fact {n}" for n in range(5))
    assert accepting(services) == []


@pytest.mark.parametrize("chunk_items", [2, 3, 1], ids=["same chunks", "larger chunks", "smaller chunks"])
@pytest.mark.parametrize("worked", [False, True], ids=["before any work", "after the first part was worked"])
def test_a_caller_that_broke_off_goes_on_under_its_key(services, client, monkeypatch, chunk_items, worked):
    with_settings(services, client, chunk_items=2)
    items = adds(2 * APPEND_CHUNKS * 2 + 1)
    with monkeypatch.context() as patch:
        break_off_after(patch, client, 1)
        with pytest.raises(Gone):
            client.batch_add(items, infer=False, idempotency_key="k")
    (first,) = accepting(services)
    if worked:
        drain_all(services)
    assert client.job(first).status() in {"queued", "running"}
    with_settings(services, client, chunk_items=chunk_items)
    job = client.batch_add(items, infer=False, idempotency_key="k")
    assert job.id == first
    drain_all(services)
    result = job.wait(1)
    assert result.status == "succeeded"
    assert [item.memory for item in result.results] == [item["messages"] for item in items]
    assert texts(client) == sorted(item["messages"] for item in items)
    assert account_of(services, job)["items"] == len(items)
    assert accepting(services) == []


def test_two_callers_with_one_key_make_one_job(services, client):
    with_settings(services, client, chunk_items=1)
    barrier, ids = threading.Barrier(4), []

    def send() -> None:
        barrier.wait()
        ids.append(client.batch_add(adds(30), infer=False, idempotency_key="k").id)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    drain_all(services)
    assert client.job(ids[0]).wait(1).status == "succeeded"
    assert len(texts(client)) == 30


def test_a_batch_whose_caller_went_away_ends_with_what_it_has(services, client, monkeypatch):
    with_settings(services, client, chunk_items=1)
    with monkeypatch.context() as patch:
        break_off_after(patch, client, 1)
        with pytest.raises(Gone):
            client.batch_add(iter(adds(30)), infer=False)
    (job_id,) = accepting(services)
    drain_all(services)
    Sweeper(services).sweep()
    assert client.job(job_id).status() == "running", "its caller may still come back"
    abandon(services, job_id)
    drain_all(services)
    result = client.job(job_id).wait(1)
    assert result.status == "succeeded"
    assert [item.memory for item in result.results] == [f"fact {n}" for n in range(APPEND_CHUNKS)]
    assert accepting(services) == []


def test_a_generator_that_fails_leaves_a_batch_that_ends(services, client):
    with_settings(services, client, chunk_items=1)

    def items():
        yield from adds(20)
        raise OSError("the file ended early")

    with pytest.raises(OSError, match="ended early"):
        client.batch_add(items(), infer=False)
    (job_id,) = accepting(services)
    abandon(services, job_id)
    drain_all(services)
    assert client.job(job_id).status() == "succeeded"


@pytest.mark.parametrize("worked", [False, True], ids=["before it ended", "after it ended"])
def test_a_caller_that_comes_back_too_late_is_told(services, client, worked):
    with_settings(services, client, chunk_items=1)

    def items():
        for number, item in enumerate(adds(40)):
            if number == 3 * APPEND_CHUNKS:
                (job_id,) = accepting(services)
                abandon(services, job_id)
                if worked:
                    drain_all(services)
            yield item

    with pytest.raises(JobError) as late:
        client.batch_add(items(), infer=False)
    assert late.value.error_code == "BATCH_ABANDONED"
    drain_all(services)
    assert client.job(late.value.details["job_id"]).status() == "succeeded"
    assert accepting(services) == []


def test_a_key_whose_batch_was_closed_early_does_not_pass_for_done(services, client, monkeypatch):
    with_settings(services, client, chunk_items=1)
    with monkeypatch.context() as patch:
        break_off_after(patch, client, 1)
        with pytest.raises(Gone):
            client.batch_add(adds(30), infer=False, idempotency_key="k")
    (job_id,) = accepting(services)
    abandon(services, job_id)
    drain_all(services)
    with pytest.raises(JobError) as late:
        client.batch_add(adds(30), infer=False, idempotency_key="k")
    assert (late.value.error_code, late.value.details) == ("BATCH_ABANDONED", {"job_id": job_id})


@pytest.mark.parametrize("filled", [0, 5])
def test_appending_twice_changes_nothing(services, client, monkeypatch, filled):
    """redis-py repeats a call whose answer was lost. Chunks may have gone to another inbox than their own."""
    with_settings(services, client, chunk_items=2, ring_ttl=60.0)
    for place, _ in itertools.product(range(1, services.settings.bulk_shards), range(filled)):
        services.control.xadd(services.keys.inbox(f"bulk-{place}"), {"job": "gone"})
    pattern = f"{services.settings.key_prefix}*"
    real, sent = execution.round_trip, []

    def twice(connection, commands, *more):
        first = real(connection, commands, *more)
        if scripts.append.runs_in(commands[0]):
            before = {key: services.control.dump(key) for key in services.control.scan_iter(pattern, count=1_000)}
            sent.append(real(connection, commands, *more))
            after = {key: services.control.dump(key) for key in services.control.scan_iter(pattern, count=1_000)}
            changed = {key for key in before | after if before.get(key) != after.get(key)}
            assert changed <= {services.keys.accepting.encode()}, "only the time of the newest items may move"
            assert sent[-1] == first, "and the answer must be the same, or a bell stays unrung"
        return first

    monkeypatch.setattr(execution, "round_trip", twice)
    job = client.batch_add(adds(40), infer=False)
    assert len(sent) == 3
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert len(texts(client)) == 40


@pytest.mark.slow
def test_a_generator_is_read_no_further_ahead_than_two_calls(services, client, monkeypatch):
    chunk_items, count, call = 50, 20_000, 50 * APPEND_CHUNKS
    read = {"items": 0, "sent": 0, "ahead": 0}
    with_settings(services, client, chunk_items=chunk_items)
    memory_id = added(services, client)
    real = client._run

    def run(exchange):
        done = real(exchange)
        read["sent"] += call
        return done

    def items():
        for n in range(count):
            read["items"] += 1
            read["ahead"] = max(read["ahead"], read["items"] - read["sent"])
            yield {"memory_id": memory_id, "metadata": {"padding": "x" * 500, "n": n}}

    monkeypatch.setattr(client, "_run", run)
    tracemalloc.start()
    try:
        job = client.batch_update(items())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read["items"] == account_of(services, job)["items"] == count
    assert read["ahead"] <= 2 * call + 1
    assert peak < count * 500 / 2, "all items together were in memory"


@pytest.mark.parametrize("chunks", [1, APPEND_CHUNKS + 1])
def test_the_last_call_of_a_weak_batch_may_be_repeated_after_its_end(services, client, chunks):
    with_settings(services, client, chunk_items=1)
    request = client._batches.add(adds(chunks), infer=False, idempotency_key=None, consistency="weak")
    parts = list(request.appends(services.settings))
    for part in parts:
        client._run(accept.append(services.settings, services.keys, request, part))
    drain_all(services)
    assert not services.control.exists(services.keys.job(request.job_id))
    again = client._run(accept.append(services.settings, services.keys, request, parts[-1]))
    assert (again.job_id, again.is_over) == (request.job_id, True)
    assert not services.control.exists(services.keys.job(request.job_id))
    assert len(texts(client)) == chunks
