"""Outages of Redis, the broker and clocks, and workers that live on: no job is lost, nothing stops for good."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import redis
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from emendo_client import MemoryClient
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.ports import free_port
from emendo_client.testing.worker import WorkerProcess, environment
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.error_codes import ErrorCode
from emendo_config.spaces.indexes import create_index
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.connections import connect
from emendo_config.worker_process import WORKER_ENVIRONMENT
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.store_outages import failure_of, is_away
from emendo_workers.runtime import leases
from emendo_workers.runtime.leases import LeaseRenewer
from tests.support.intake import (
    added,
    bring_back,
    drain,
    drain_all,
    let_time_pass,
    reconfigure,
    shard_of_job,
    with_settings,
)
from tests.support.patience import PATIENCE, until

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def data_away(services, monkeypatch):
    """The memories' Redis is away; that of the jobs, another one, is not."""
    with connect(AWAY, services.settings) as nowhere, monkeypatch.context() as patch:
        patch.setattr(services, "store", replace(services.store, data=nowhere))
        yield patch


@pytest.mark.slow  # starts a Redis and a worker
def test_a_worker_that_starts_before_its_redis_does_all_its_work_later(emendo_redis, openai_server, tmp_path):
    late = EmbeddedRedis(tmp_path / "late", port=free_port())
    broker_url = f"{emendo_redis.url.removesuffix('/0')}/1"
    settings = settings_for(late.url, openai_server.base_url, broker_url=broker_url)
    log = tmp_path / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            WorkerProcess(settings, log)._command,
            env={**WORKER_ENVIRONMENT, **environment(settings)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "cannot start yet" in log.read_text())
        assert "check=EMENDO_REDIS_URL" in log.read_text()
        with late, MemoryClient(settings) as client:
            memory_id = client.add("hello", user_id="ana", infer=False).wait(PATIENCE).results[0].memory_id
            held = client._keys.lock(memory_id)
            client._connections.data.set(held, "another worker", px=500)
            put_aside = client.update(memory_id, "only a sweeper brings this back")
            assert put_aside.wait(PATIENCE).status == "succeeded"
            process.terminate()
            assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow  # waits out an outage
def test_an_outage_of_the_memories_redis_costs_no_attempts_and_looks_like_no_death(services, client, request):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {number}") for number in range(3)]
    request.getfixturevalue("data_away")
    for _ in range(services.settings.poison_deliveries + services.settings.max_attempts):
        assert drain_all(services) == len(jobs)
        assert {(job.status(), job.info().attempts, job.info().error["code"]) for job in jobs} == {
            ("retrying", 0, "STORE_AWAY")
        }
        let_time_pass(services)
    request.getfixturevalue("data_away").undo()
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 3
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3, 4]


def test_a_redis_that_has_lost_its_replicas_and_takes_no_writes_is_away(services, client, openai_server, tmp_path):
    with EmbeddedRedis(tmp_path / "data") as data, connect(data.url, services.settings) as store:
        memory_id = added(services, client)
        store.restore(key := services.keys.memory(memory_id), 0, services.data.dump(key))
        store.config_set("min-replicas-to-write", 1)
        job = client.update(memory_id, "text")
        services.store, kept = replace(services.store, data=store), services.store
        for _ in range(services.settings.max_attempts + 1):
            drain_all(services)
            assert (job.status(), job.info().attempts, job.info().error["code"]) == ("retrying", 0, "STORE_AWAY")
            let_time_pass(services)
        services.store = kept
    drain_all(services)
    assert job.wait(1).status == "succeeded"


@pytest.mark.parametrize(
    ("said", "away"),
    [
        ("MISCONF Redis is configured to save", True),
        ("NOREPLICAS Not enough", True),
        ("BUSY Redis is busy running a script.", True),
        ("BUSYKEY Target key name already exists.", False),
        ("WRONGTYPE Operation", False),
    ],
)
def test_what_redis_says_tells_one_that_takes_no_writes_from_a_refusal(said, away):
    assert is_away(redis.ResponseError(said)) is away
    assert failure_of(redis.ResponseError(said)).error_code == (ErrorCode.STORE_AWAY if away else "VECTOR_STORE")


@pytest.mark.parametrize("kind", [OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError])
def test_outages_whose_code_redis_py_takes_out_of_the_words_are_known_by_their_class(kind):
    assert is_away(kind("command not allowed"))


def test_what_our_own_code_did_wrong_is_no_outage():
    assert not is_away(redis.DataError("a value of a type Redis does not have"))
    assert not is_away(ValueError("no"))


def test_a_job_waits_for_the_store_about_as_long_as_for_a_dead_worker(services, client, request):
    memory_id = added(services, client)
    job = client.update(memory_id, "text")
    request.getfixturevalue("data_away")
    began = time.time()
    drain(services, job)
    ((_, due),) = services.control.zrange(services.keys.delayed, 0, -1, withscores=True)
    lease = services.settings.lease
    assert began + lease / 2 <= due / 1_000 <= time.time() + lease


def test_one_memory_redis_refuses_holds_back_no_other_and_is_given_up_in_the_end(services, client):
    good, bad = added(services, client), added(services, client, "I enjoy hiking.")
    with_settings(services, client, inbox_shards=1, max_attempts=2)
    services.data.delete(services.keys.memory(bad))
    services.data.set(services.keys.memory(bad), "no hash")
    jobs = [client.update(good, "one"), client.update(bad, "two"), client.update(good, "three")]
    drain(services, jobs[0])
    assert [job.status() for job in jobs] == ["succeeded", "retrying", "succeeded"]
    bring_back(services, jobs[1])
    (item,) = jobs[1].wait(1).results
    assert (jobs[1].status(), jobs[1].info().attempts) == ("failed", 2)
    assert item.error["code"] == "VECTOR_STORE"
    services.data.delete(services.keys.memory(bad))


def test_a_sweeper_goes_on_after_whatever_a_look_met(services, monkeypatch, caplog):
    reconfigure(services, sweep_interval=0.01)
    looked = threading.Semaphore(0)

    def sweep(self):
        looked.release()
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    sweeper = Sweeper(services)
    sweeper.start()
    try:
        assert all(looked.acquire(timeout=PATIENCE) for _ in range(3))
    finally:
        sweeper.stop()
        sweeper.join(PATIENCE)
    assert "nobody foresaw this" in caplog.text


def test_a_lease_renewer_goes_on_after_whatever_a_renewal_met(services, monkeypatch, caplog):
    settings = services.settings.model_copy(update={"lease": 0.05})
    renewed = threading.Semaphore(0)

    def renew(self):
        renewed.release()
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(LeaseRenewer, "renew", renew)
    renewer = LeaseRenewer(replace(services.store, settings=settings), "another")
    renewer.start()
    try:
        assert all(renewed.acquire(timeout=PATIENCE) for _ in range(3))
    finally:
        renewer.stop()
    assert "nobody foresaw this" in caplog.text


def test_a_worker_with_long_leases_shows_that_it_lives(services, monkeypatch):
    """Signs of life came with the renewals alone: with a lease of some minutes a worker looked dead between them."""
    monkeypatch.setattr(leases, "WORKER_SILENCE", 0.05)
    settings = services.settings.model_copy(update={"lease": 900.0})
    renewed = threading.Semaphore(0)
    monkeypatch.setattr(LeaseRenewer, "renew", lambda _: renewed.release())
    renewer = LeaseRenewer(replace(services.store, settings=settings), "another")
    renewer.start()
    try:
        assert all(renewed.acquire(timeout=PATIENCE) for _ in range(3))
    finally:
        renewer.stop()


def test_a_sweeper_that_is_asked_to_stop_holds_nobody_up(services, monkeypatch):
    reconfigure(services, sweep_interval=0.01)
    looking, broker_answers = threading.Event(), threading.Event()

    def sweep(self):
        looking.set()
        assert broker_answers.wait(PATIENCE)

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    sweeper = Sweeper(services)
    sweeper.start()
    assert looking.wait(PATIENCE)
    sweeper.stop()
    sweeper.join(0.01)
    assert sweeper._thread.is_alive(), "it was waited for"
    broker_answers.set()
    sweeper.join(PATIENCE)
    assert not sweeper._thread.is_alive()


def test_a_look_asks_a_broker_that_is_away_once_and_not_for_each_shard(services, client, monkeypatch):
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(12)]
    shards = {shard_of_job(services, job) for job in jobs}
    assert len(shards) > 3
    services.control.delete(*map(services.keys.wakeup, shards))
    asked = []
    monkeypatch.setattr(services.notifier, "notify", lambda shard: asked.append(shard) or False)
    assert Sweeper(services).sweep() == shards
    assert len(asked) == 1


@pytest.mark.parametrize("wrong_by", [-3_600.0, 3_600.0])
def test_the_clock_of_the_sweepers_machine_does_not_matter(services, client, monkeypatch, wrong_by):
    memory_id = added(services, client)
    lock = services.keys.lock(memory_id)
    services.data.set(lock, "another worker", px=60_000)
    due, later = client.update(memory_id, "one"), client.update(memory_id, "two")
    drain(services, due)
    member = f"{shard_of_job(services, later)}:{later.id}"
    assert services.control.zadd(services.keys.delayed, {member: int((time.time() + 60) * 1_000)}, xx=True) == 0
    services.data.delete(lock)
    right = time.time
    until(
        lambda: (
            right() * 1_000 > services.control.zscore(services.keys.delayed, f"{shard_of_job(services, due)}:{due.id}")
        )
    )
    monkeypatch.setattr(time, "time", lambda: right() + wrong_by)
    Sweeper(services).sweep()
    monkeypatch.undo()
    drain(services, due)
    assert (due.status(), later.status()) == ("succeeded", "retrying")


def test_an_index_that_cannot_be_made_fails_as_redis_did(services, settings):
    services.data.acl_setuser(
        "limited", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-ft.create"]
    )
    try:
        url = settings.redis_url.replace("redis://", "redis://limited:any@")
        with redis.Redis.from_url(url) as limited, pytest.raises(NoPermissionError):
            create_index(limited, services.keys, SpaceRecord(EmbeddingSpace("openai", "another", 8)))
    finally:
        services.data.acl_deluser("limited")


def test_events_that_no_broker_takes_are_dropped_whatever_it_raises(services, client, monkeypatch, caplog):
    class ForcedError(Exception):
        """As py-amqp's are: none of kombu's, none of Python's own."""

    class Gone:
        def publish(self, *_, **__):
            raise ForcedError("connection closed")

    reconfigure(services, task_events=True)
    monkeypatch.setattr(services.events, "_enabled", True)
    monkeypatch.setattr(services.events, "_producer", Gone())
    with caplog.at_level(logging.WARNING):
        assert added(services, client)
    assert "job events were dropped" in caplog.text
    assert services.events._producer is None, "the next events get a new connection"


def test_a_job_older_than_any_record_does_not_undo_a_newer_ones_metadata(services, client):
    memory_id = added(services, client, metadata={"plan": "none", "number": 0})
    lock = services.keys.lock(memory_id)
    services.data.set(lock, "another worker", px=60_000)
    late = client.update(memory_id, metadata={"plan": "old", "colour": "red"})
    drain(services, late)
    services.data.delete(lock)
    drain(services, client.update(memory_id, metadata={"plan": "new"}))
    # A removal that is older than jobs are kept is forgotten; a value that is there must be known.
    services.control.incrby(services.keys.clock, 2 * services.settings.job_ttl * 1_000_000)
    much_later = client.update(memory_id, metadata={"number": 1})
    drain(services, much_later)
    assert much_later.status() == "succeeded"
    bring_back(services, late)
    assert late.status() == "succeeded"
    assert client.get(memory_id).metadata == {"plan": "new", "number": 1, "colour": "red"}
