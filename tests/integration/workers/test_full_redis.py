"""A Redis that has reached maxmemory: nothing is accepted but erasures, which are carried out; nothing is lost."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from redis.exceptions import OutOfMemoryError

from emendo_client import MemoryClient
from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.redis_errors import translate
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_config.store import scripts
from emendo_config.store.connections import connect
from emendo_config.store.format_versions import FORMAT
from emendo_ops.doctor.control_redis import check_jobs
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.store_outages import failure_of
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.erasing import OWNER, SECRET, assert_nothing_is_left
from tests.support.intake import added, drain, drain_all, let_time_pass
from tests.support.patience import PATIENCE, until

# Below what any Redis uses.
NO_ROOM = 1_000_000


@pytest.fixture
def settings(redis_alone, openai_server):
    return settings_for(redis_alone.url, openai_server.base_url, broker_url=redis_alone.url, sweep_interval=0.2)


@contextmanager
def full(connection):
    connection.config_set("maxmemory", NO_ROOM)
    try:
        yield
    finally:
        connection.config_set("maxmemory", 0)


def test_what_a_full_redis_really_answers_becomes_out_of_memory(services):
    with full(services.control):
        with pytest.raises(OutOfMemoryError) as of_command:
            services.control.set("key", "value")
        with pytest.raises(OutOfMemoryError) as of_script:
            services.control.eval("return redis.call('SET', KEYS[1], 'value')", 1, "key")
    for found in (of_command.value, of_script.value):
        assert (translate(found).error_code, failure_of(found).error_code) == ("OUT_OF_MEMORY", "OUT_OF_MEMORY")


def test_jobs_wait_at_the_limit_without_spending_attempts_and_go_on_when_there_is_room(services, client, openai_server):
    kept, erased = added(services, client), added(services, client, "I enjoy hiking.")
    jobs = [client.update(kept, f"text {number}") for number in range(3)]
    erasure = client.delete(erased, hard=True)
    with full(services.control):
        for _ in range(services.settings.max_attempts + 1):
            assert drain_all(services) > 0
            assert {(job.status(), job.info().attempts, job.info().error["code"]) for job in jobs} == {
                ("retrying", 0, "OUT_OF_MEMORY")
            }
            let_time_pass(services)
        assert erasure.status() == "succeeded", "an erasure ends with less memory"
    let_time_pass(services)
    until(lambda: not services.room.is_short)
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 3
    assert [entry.version for entry in client.history(kept)] == [1, 2, 3, 4]
    assert client.health().dead == 0


def test_texts_are_not_paid_for_again_and_again_while_there_is_no_room(services, client, openai_server):
    memory_id = added(services, client)
    client.update(memory_id, "to be embedded once")
    with full(services.control):
        drain_all(services)
        openai_server.clear_requests()
        for _ in range(3):
            let_time_pass(services)
            drain_all(services)
    assert len(openai_server.requests) == 0


def test_at_the_limit_callers_get_out_of_memory_and_erase_purge_and_cancel(services, client):
    ids = [added(services, client, f"fact {number}") for number in range(4)]
    drain(services, client.delete(ids[0]))
    waiting = client.update(ids[3], "waits")
    with full(services.control):
        for call in (
            lambda: client.add("no", user_id="ana", infer=False),
            lambda: client.update(ids[1], "no"),
            lambda: client.batch_update([{"memory_id": ids[1], "text": "no"}]),
        ):
            with pytest.raises(VectorStoreError) as refused:
                call()
            assert refused.value.error_code == "OUT_OF_MEMORY"
            assert "maxmemory" in refused.value.suggestion
        assert client.job(waiting.id).cancel()
        jobs = [client.delete(ids[1], hard=True), client.purge(deleted_before=datetime.now(UTC) + timedelta(minutes=1))]
        drain_all(services)
        assert [job.status() for job in jobs] == ["succeeded"] * 2
        assert [services.data.hget(services.keys.memory(each), "erased") for each in ids[:2]] == [b"1", b"1"]


def test_at_the_limit_a_user_is_erased_with_what_jobs_hold_of_them(services, client, model):
    dry = client.add(f"I like {SECRET}.", user_id=OWNER, dry_run=True)
    drain_all(services)
    added(services, client, SECRET, user_id=OWNER)
    waiting = client.add(f"I like {SECRET} more.", user_id=OWNER)
    with full(services.control):
        job = client.erase_user(OWNER)
        drain_all(services)
        assert job.status() == "succeeded"
        assert_nothing_is_left(services)
    let_time_pass(services)
    drain_all(services)
    assert (dry.status(), waiting.status()) == ("succeeded", "failed")


def test_at_the_limit_records_that_cannot_be_read_hold_no_erasure_up(services, client):
    """A newer release wrote one, and something else stands at the key of the other."""
    memory_id = added(services, client)
    newer, lost, erasure = client.update(memory_id, "a"), client.update(memory_id, "b"), client.delete(memory_id, True)
    services.control.hset(services.keys.job(newer.id), FORMAT, 99)
    services.control.delete(services.keys.job(lost.id))
    services.control.set(services.keys.job(lost.id), "no record", ex=600)
    with full(services.control):
        drain(services, erasure)
        assert erasure.status() == "succeeded"
        assert services.control.zcard(services.keys.delayed) == 1, "the newer one waits for a newer worker"
        assert [letter.job_id for letter in client.dead_letters()] == [lost.id]
    assert services.control.get(services.keys.damaged(lost.id)) == b"no record"
    services.control.hdel(services.keys.job(newer.id), FORMAT)
    client.discard(lost.id)
    let_time_pass(services)
    drain_all(services)
    assert newer.status() == "failed"


def test_above_the_watermark_requests_are_refused_and_accepted_jobs_end(services, client):
    memory_id = added(services, client)
    first = client.update(memory_id, "accepted before")
    ballast = f"{services.settings.key_prefix}ballast"
    services.control.setrange(ballast, 40_000_000, b"0")  # a long value would stand in the connection's buffer, too
    services.control.pexpire(ballast, 60_000)
    use = services.control.info("memory")["used_memory"]
    services.control.config_set("maxmemory", int(use * 1.03))
    sweeper = Sweeper(services)
    sweeper.sweep()
    with pytest.raises(VectorStoreError) as refused:
        client.update(memory_id, "no")
    assert refused.value.error_code == "OUT_OF_MEMORY"
    with pytest.raises(VectorStoreError):
        client.batch_add([{"messages": "no", "user_id": "ana"}], infer=False)
    found = client.health()
    assert found.full
    assert not found.ok
    assert found.memory["data"].limit == int(use * 1.03)
    assert [each.state for each in check_jobs(services.settings) if each.check == "memory"] == ["fail", "fail"]
    drain_all(services)
    assert first.status() == "succeeded"
    erasure = client.delete(memory_id, hard=True)
    drain_all(services)
    assert erasure.status() == "succeeded"
    keep_house(services.store, services.notifier, 0.0)
    services.control.config_set("maxmemory", 0)
    sweeper.sweep()
    assert not client.health().full
    drain(services, client.add("there is room", user_id="ana", infer=False))


def test_without_workers_the_watermark_is_forgotten_and_no_setting_turns_it_off(services, client):
    services.control.config_set("maxmemory", services.control.info("memory")["used_memory"] * 9 // 10)
    Sweeper(services).sweep()
    assert services.control.pttl(services.keys.full) > 0, "it expires when nobody looks any more"
    services.store = services.store.__class__(
        services.data,
        services.control,
        services.keys,
        services.settings.model_copy(update={"memory_watermark": 0}),
        services.lease_ms,
    )
    Sweeper(services).sweep()
    assert not services.control.exists(services.keys.full)


@pytest.mark.slow  # starts worker processes
def test_a_worker_and_its_broker_live_on_in_a_full_redis(settings, tmp_path):
    log = tmp_path / "worker.log"
    with (
        WorkerProcess(settings, log) as worker,
        MemoryClient(settings) as client,
        connect(settings.redis_url, settings) as connection,
    ):
        memory_id = client.add("hello", user_id="ana", infer=False).wait(PATIENCE).results[0].memory_id
        other = client.add("world", user_id="ana", infer=False).wait(PATIENCE).results[0].memory_id
        with full(connection):
            until(lambda: client.health().full)
            assert client.delete(memory_id, hard=True).wait(PATIENCE).status == "succeeded"
            assert client.health().workers == 1
        until(lambda: not client.health().full)
        assert client.update(other, "there is room").wait(PATIENCE).status == "succeeded"
        assert worker.is_alive
    assert not re.search("Traceback|CRITICAL", log.read_text())


@pytest.mark.parametrize("name", sorted(scripts.TABLE))
def test_every_script_compiles_for_the_limit(services, name):
    twin = scripts.TABLE[name].at_limit
    assert twin.text.startswith("#!lua flags=allow-oom\n")
    assert services.control.script_load(twin.text) == twin.digest
