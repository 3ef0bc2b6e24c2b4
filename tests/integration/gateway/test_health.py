"""Readiness and backlog: `client.health()`, and the gateway's /health, /health/live and /metrics."""

from __future__ import annotations

import math
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.exchanges.health import InferenceUsage
from emendo_client.testing.openai_server.faults import Fault
from emendo_config import Settings
from emendo_config.metric_families import COUNTED
from emendo_config.queues import QUEUES
from emendo_config.store import usage_counters
from emendo_config.store.scripts import execution
from emendo_gateway import operations
from emendo_gateway.gauges import READ
from emendo_ops.doctor.control_redis import check_jobs
from tests.support.gateway import browser
from tests.support.intake import added, drain, shard_of_job

AWAY = "redis://127.0.0.1:1/0"
# Metrics that no health has: tests/integration/workers/test_metrics.py looks at them. The parser gives no `_total`.
FURTHER = {name.removesuffix("_total") for name in COUNTED}
FURTHER |= {name for name in READ if name.startswith(("emendo_rate_limit", "emendo_reembedding", "emendo_embedding"))}
FURTHER |= {"emendo_memories", "emendo_metrics_read", "emendo_open_jobs", "emendo_oldest_open_job_seconds"}


def away(settings):
    return settings.model_copy(update={"redis_url": AWAY, "control_url": AWAY})


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and label values."""
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


@pytest.fixture
def backlog(services, client, openai_server) -> dict[str, int]:
    """Three jobs in two inboxes, one delayed and one dead; the inboxes' lengths by shard."""
    openai_server.faults.add(Fault("bad_request", times=1, match="unbearable"))
    dead = client.add("unbearable", user_id="ana", infer=False)
    drain(services, dead)
    openai_server.faults.add(Fault("unavailable", times=100))
    delayed = client.add("hello", user_id="ana", infer=False)
    drain(services, delayed)
    openai_server.faults.clear()
    in_an_hour = int((time.time() + 3_600) * 1_000)  # it is not due while a test looks, however slow the machine is
    ((member, _),) = services.control.zrange(services.keys.delayed, 0, -1, withscores=True)
    services.control.zadd(services.keys.delayed, {member: in_an_hour})
    lengths = dict.fromkeys((shard_of_job(services, dead), shard_of_job(services, delayed)), 0)
    for memory_id in ("a", "a", "c"):
        shard = shard_of_job(services, client.update(memory_id, "waits"))
        lengths[shard] = lengths.get(shard, 0) + 1
    return lengths


def test_an_idle_system_has_no_backlog(services, client):
    added(services, client)
    health = client.health()
    assert (health.redis, health.index, health.workers, health.problem) == (True, True, 0, None)
    assert (health.queued, health.delayed, health.dead) == (0, 0, 0)
    assert health.oldest_job_seconds == dict.fromkeys(QUEUES, 0.0)
    assert health.circuit_breakers["openai"].state == "closed"
    assert not health.ok, "nobody carries jobs out"


def test_the_backlog_is_counted(client, backlog):
    health = client.health()
    assert (health.queued, health.delayed, health.dead) == (3, 1, 1)
    assert health.queued_by_shard == backlog


async def test_the_async_client_sees_the_same(client, backlog, emendo_settings):
    async with AsyncMemoryClient(emendo_settings) as twin:
        ours, theirs = client.health(), await twin.health()
    moves = {"oldest_job_seconds", "memory"}
    assert theirs.model_dump(exclude=moves) == ours.model_dump(exclude=moves)
    assert theirs.memory.keys() == ours.memory.keys() == {"data", "control"}


def test_the_oldest_jobs_age_is_that_of_the_longest_waiting_of_a_queues_inboxes(services, client):
    an_hour_ago = int((time.time() - 3_600) * 1_000)
    for shard, written in (("3", an_hour_ago), ("5", an_hour_ago + 1_800_000), ("bulk-1", an_hour_ago - 3_600_000)):
        services.control.xadd(services.keys.inbox(shard), {"job": "x"}, id=f"{written}-0")
        services.control.sadd(services.keys.shards, shard)
    ages = client.health().oldest_job_seconds
    assert 3_600 <= ages["interactive"] < 3_700
    assert 7_200 <= ages["bulk"] < 7_300
    assert ages["inference"] == ages["maintenance"] == 0.0


def test_a_delayed_job_that_nobody_brings_back_is_told(services, client, backlog):
    assert (client.health().delayed, client.health().overdue_seconds) == (1, 0.0)
    ((member, _),) = services.control.zrange(services.keys.delayed, 0, -1, withscores=True)
    services.control.zadd(services.keys.delayed, {member: int((time.time() - 90) * 1_000)})
    assert 90 <= client.health().overdue_seconds < 120
    assert backlog_finding(client.settings).state == "ok", "nobody could: there is no worker"
    services.leases.renew()
    found = backlog_finding(client.settings)
    assert (found.state, "restart the workers" in found.mend) == ("warn", True)


def backlog_finding(settings):
    (found,) = [finding for finding in check_jobs(settings) if finding.check == "backlog"]
    return found


def test_the_circuit_breaker_is_told_in_its_three_states(services, client):
    key = services.keys.breaker("openai")

    def breaker():
        return client.health().circuit_breakers["openai"]

    services.control.hset(key, mapping={"failures": 3})
    services.control.expire(key, 600)
    assert (breaker().state, breaker().seconds_left) == ("closed", 0.0)
    services.control.hset(key, "until", int((time.time() + 100) * 1_000))
    assert (breaker().state, 0 < breaker().seconds_left <= 100) == ("open", True)
    services.control.hset(key, "until", int((time.time() - 1) * 1_000))
    assert (breaker().state, breaker().seconds_left) == ("half_open", 0.0)


def test_a_look_takes_three_round_trips_however_many_shards_there_are(client, backlog, monkeypatch):
    trips = []
    real = execution.round_trip
    monkeypatch.setattr(
        execution,
        "round_trip",
        lambda connection, commands, *more: (trips.append(len(commands)), real(connection, commands, *more))[1],
    )
    client.health()
    assert len(trips) == 3


@pytest.mark.parametrize("plane", ["redis_url", "control_url"])
def test_a_plane_that_is_away_is_a_problem_and_no_error(emendo_settings, plane):
    with MemoryClient(emendo_settings.model_copy(update={plane: AWAY})) as client:
        health = client.health()
    assert (health.redis, health.ok) == (False, False)
    assert "cannot be reached" in health.problem


# The gateway.


def test_the_gateways_readiness_tells_up_from_down(emendo_client, emendo_worker, emendo_settings):
    with browser(emendo_worker) as http:
        answer = http.get("/health")
        assert (answer.status_code, answer.json()["workers"]) == (200, 1)
        closed = {"state": "closed", "seconds_left": 0.0}
        assert answer.json()["circuit_breakers"] == {"openai": closed, "chat": closed}
    with browser(emendo_settings) as http:
        assert http.get("/health").status_code == 503
    with browser(away(emendo_worker)) as http:
        answer = http.get("/health")
        assert (answer.status_code, answer.json()["redis"]) == (503, False)


@pytest.mark.parametrize("provider", ["openai", "chat"])
def test_a_gateway_without_a_providers_settings_still_sees_that_workers_leave_it_alone(services, settings, provider):
    services.control.hset(services.keys.breaker(provider), "until", int((time.time() + 100) * 1_000))
    services.control.expire(services.keys.breaker(provider), 600)
    bare = Settings(redis_url=settings.redis_url, key_prefix=settings.key_prefix, embedding_provider="local")
    assert not bare.has_chat_model
    with browser(bare) as http:
        found = samples(http.get("/metrics").text)["emendo_circuit_breaker_open"]
    assert found == {("openai",): 0, ("chat",): 0, (provider,): 1}


def test_more_readiness_requests_at_once_than_connections_are_all_answered(emendo_worker):
    few = emendo_worker.model_copy(update={"redis_max_connections": 2})
    with browser(few) as http, ThreadPoolExecutor(16) as pool:
        assert [answer.status_code for answer in pool.map(http.get, ["/health"] * 64)] == [200] * 64


def test_the_gateway_lives_whatever_redis_does(emendo_settings):
    with browser(away(emendo_settings)) as http:
        assert http.get("/health/live").status_code == 200


def test_metrics_say_what_health_says(backlog, services, client, emendo_settings):
    services.leases.renew()  # a worker's sign of life
    services.control.hset(services.keys.breaker("openai"), "until", int((time.time() + 100) * 1_000))
    services.control.expire(services.keys.breaker("openai"), 600)
    with browser(emendo_settings) as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {name: values for name, values in samples(answer.text).items() if name not in FURTHER}
    assert found.pop("emendo_oldest_job_seconds").keys() == {(queue,) for queue in QUEUES}
    used = found.pop("emendo_memory_used_bytes")
    assert used.keys() == {("data",), ("control",)}
    assert min(used.values()) > 1_000_000
    assert found == {
        "emendo_redis_up": {(): 1},
        "emendo_workers": {(): 1},
        "emendo_faulty_workers": {(): 0},
        "emendo_memory_limit_bytes": {("data",): 0, ("control",): 0},
        "emendo_memory_full": {(): 0},
        "emendo_jobs_queued": {(shard,): count for shard, count in backlog.items()},
        "emendo_jobs_waiting": {(): 0},
        "emendo_jobs_delayed": {(): 1},
        "emendo_overdue_seconds": {(): 0},
        "emendo_housekeeping_seconds": {(): math.inf},
        "emendo_dead_letters": {(): 1},
        "emendo_circuit_breaker_open": {("openai",): 1, ("chat",): 0},
        "emendo_inference_requests": {("chat",): 0, ("embedding",): 0},
        "emendo_inference_tokens": {("prompt",): 0, ("completion",): 0, ("embedding",): 0},
        "emendo_inference_decisions": dict.fromkeys([("ADD",), ("UPDATE",), ("DELETE",), ("NONE",)], 0),
        "emendo_inference_fallbacks": {},
        "emendo_inference_degraded_jobs": {(): 0},
    }


def test_what_inference_did_and_cost_is_counted(services, client, emendo_settings):
    counts = {
        usage_counters.CHAT_REQUESTS: 2,
        usage_counters.PROMPT_TOKENS: 900,
        usage_counters.COMPLETION_TOKENS: 70,
        usage_counters.EMBEDDING_REQUESTS: 1,
        usage_counters.EMBEDDING_TOKENS: 12,
        usage_counters.DEGRADED_JOBS: 3,
        usage_counters.decision("UPDATE"): 4,
        usage_counters.decision("ADD"): 5,
        usage_counters.fallback("UNKNOWN_MEMORY"): 1,
        usage_counters.fallback("NO_ANSWER"): 2,
    }
    for name, count in counts.items():
        services.control.hincrby(services.keys.usage, name, count)
    with browser(emendo_settings) as http:
        found = samples(http.get("/metrics").text)
    assert {name: values for name, values in found.items() if "inference" in name} == {
        "emendo_inference_requests": {("chat",): 2, ("embedding",): 1},
        "emendo_inference_tokens": {("prompt",): 900, ("completion",): 70, ("embedding",): 12},
        "emendo_inference_decisions": {("ADD",): 5, ("UPDATE",): 4, ("DELETE",): 0, ("NONE",): 0},
        "emendo_inference_fallbacks": {("UNKNOWN_MEMORY",): 1, ("NO_ANSWER",): 2},
        "emendo_inference_degraded_jobs": {(): 3},
    }
    assert client.health().inference == InferenceUsage(
        chat_requests=2,
        prompt_tokens=900,
        completion_tokens=70,
        embedding_requests=1,
        embedding_tokens=12,
        decisions={"ADD": 5, "UPDATE": 4, "DELETE": 0, "NONE": 0},
        fallbacks={"UNKNOWN_MEMORY": 1, "NO_ANSWER": 2},
        degraded_jobs=3,
    )


def test_a_scrape_without_redis_succeeds_and_says_so(emendo_settings):
    with browser(away(emendo_settings)) as http:
        answer = http.get("/metrics")
    assert (answer.status_code, samples(answer.text)) == (200, {"emendo_redis_up": {(): 0}})


def test_a_redis_that_never_answers_holds_nobody_up(emendo_settings, monkeypatch):
    monkeypatch.setattr(operations, "CHECK_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        settings = emendo_settings.model_copy(
            update={"redis_url": url, "control_url": url, "redis_timeout": 60.0}  # only the look's own limit ends it
        )
        with browser(settings) as http:
            assert samples(http.get("/metrics").text) == {"emendo_redis_up": {(): 0}}
            answer = http.get("/health")
            assert (answer.status_code, answer.json()["problem"]) == (503, "Redis did not answer within 0.1 s")
