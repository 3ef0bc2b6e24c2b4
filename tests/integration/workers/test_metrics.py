"""The metrics that workers count, as the gateway's /metrics shows them: exact over jobs, threads and processes."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import TimeoutError as RedisTimeoutError

from emendo_client import MemoryClient
from emendo_client.testing import Fault
from emendo_client.testing.worker import WorkerProcess
from emendo_config import metric_families as metrics
from emendo_config.store import scripts
from emendo_gateway.metrics import exposition
from emendo_workers.intake import attempt
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from emendo_workers.jobs.finish_documents import finish_documents
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.providers.vector_cache import VectorCache
from tests.fundamentals.test_12_inference import found as facts
from tests.support.gateway import browser
from tests.support.inferring import started, with_chat
from tests.support.intake import added, drain, shard_of_job
from tests.support.patience import until

PATIENCE = 60.0


class Scrape:
    """Samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        self.text = text

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and at least these labels."""
        wanted = set(labels.items())
        return sum(value for (found, given), value in self.samples.items() if found == name and wanted <= set(given))


def scrape(settings) -> Scrape:
    with browser(settings) as http:
        return Scrape(http.get("/metrics").text)


def test_each_kind_of_work_is_counted_once(services, client, settings, openai_server):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, "I like seafood."), client.delete(memory_id), client.delete(str(uuid.uuid4()))]
    openai_server.faults.add(Fault("bad_request", times=100, match="unbearable"))
    jobs.append(client.add("unbearable", user_id="ana", infer=False))
    openai_server.faults.add(Fault("unavailable", times=100, match="later"))
    jobs.append(client.add("later", user_id="ana", infer=False))
    batch = client.batch_add([{"messages": f"text {number}", "user_id": "ana"} for number in range(7)])
    for job in jobs:
        drain(services, job)
    for shard in services.control.smembers(services.keys.shards):
        Drain(services, shard.decode()).run()
    assert batch.wait(5).status == "succeeded"
    found = scrape(settings)
    statuses = {("add", "succeeded"): 1, ("update", "succeeded"): 1, ("delete", "succeeded"): 1}
    statuses |= {("delete", "failed"): 1, ("add", "failed"): 1, ("batch_add", "succeeded"): 1}
    for (kind, status), number in statuses.items():
        assert found.sum("emendo_jobs_ended_total", kind=kind, status=status) == number, (kind, status)
    assert found.sum("emendo_jobs_ended_total") == sum(statuses.values())
    assert found.sum("emendo_operations_total", kind="batch_add", result="ADD") == 7
    assert found.sum("emendo_operations_total", kind="delete", result="REFUSED") == 1
    assert found.sum("emendo_operations_total", kind="add", result="FAILED") == 1
    assert found.sum("emendo_operations_total") == 12
    assert found.sum("emendo_operation_errors_total") == 2
    assert found.sum("emendo_jobs_dead_lettered_total") == 1
    assert found.sum("emendo_retries_total") == 1
    done = 12 - 2
    assert found.sum("emendo_commit_latency_seconds_count") == done
    for stage in metrics.STAGES:
        assert found.sum("emendo_stage_seconds_count", stage=stage) == done
    stages = found.sum("emendo_stage_seconds_sum")
    assert 0 < stages <= found.sum("emendo_commit_latency_seconds_sum")
    texts = found.sum("emendo_embedding_cache_lookups_total")
    assert (found.sum("emendo_embedding_cache_lookups_total", result="miss"), texts) == (11, 11)
    requests = found.sum("emendo_provider_requests_total", kind="embedding")
    assert requests == found.sum("emendo_provider_request_seconds_count") == len(openai_server.requests)
    assert found.sum("emendo_embedding_request_texts_count") == requests
    assert 0 < found.sum("emendo_provider_errors_total") < requests
    assert found.sum("emendo_provider_tokens_total", kind="embedding") > 0
    chunks = int(services.control.hget(services.keys.job(batch.id), "chunks"))
    assert found.sum("emendo_drain_batch_jobs_sum") == 6 + chunks
    assert found.sum("emendo_metrics_read") == 1


@pytest.mark.slow  # two workers
def test_two_workers_at_once_are_counted_together(client, settings, tmp_path):
    # Workers of this test's own: the session's worker also counts the jobs of other tests.
    with WorkerProcess(settings, tmp_path / "first.log"), WorkerProcess(settings, tmp_path / "second.log"):
        jobs = [client.add(f"fact {n}", user_id=f"{uuid.uuid4()}", infer=False) for n in range(40)]
        assert {job.wait(PATIENCE).status for job in jobs} == {"succeeded"}
        scrapes: list[Scrape] = []

        def all_are_counted() -> bool:  # a drain's counts follow its jobs' results
            scrapes.append(scrape(settings))
            return scrapes[-1].sum("emendo_jobs_ended_total") >= len(jobs)

        until(all_are_counted, lambda: scrapes[-1].text, PATIENCE)
        found = scrapes[-1]
    assert found.sum("emendo_jobs_ended_total") == len(jobs)
    assert found.sum("emendo_commit_latency_seconds_count", kind="add") == len(jobs)
    assert found.sum("emendo_commit_latency_seconds_bucket", le="+Inf") == len(jobs)
    assert found.sum("emendo_drain_batch_jobs_sum") >= len(jobs)  # more, if a lease ended on a busy machine


def test_a_result_that_is_recorded_twice_counts_once(services, client, settings, monkeypatch):
    job = client.add("hello", user_id="ana", infer=False)
    real, sent = scripts.run, []

    def repeated(connection, commands, **more):
        for command in commands:
            if scripts.count.runs_in(command):
                sent.append(command)
                real(connection, [command], **more)  # as redis-py does when the answer was lost
        return real(connection, commands, **more)

    monkeypatch.setattr(scripts, "run", repeated)
    drain(services, job)
    assert sent
    assert scrape(settings).sum("emendo_jobs_ended_total") == 1


def test_a_job_that_another_reader_ended_is_not_counted(services, client, settings, monkeypatch):
    job = client.add("hello", user_id="ana", infer=False)

    def documents(outcome):
        services.control.hset(services.keys.job(job.id), "status", "succeeded")
        services.control.expire(services.keys.job(job.id), 60)
        return finish_documents(outcome)

    monkeypatch.setattr(attempt, "finish_documents", documents)
    drain(services, job)
    found = scrape(settings)
    assert (found.sum("emendo_jobs_ended_total"), found.sum("emendo_drain_batch_jobs_sum")) == (0, 1)


def test_a_key_of_another_type_stops_no_drain(services, client, settings):
    services.control.set(services.keys.metrics, "no hash", ex=60)
    added(services, client)
    services.control.delete(services.keys.metrics)
    services.control.hset(services.keys.metrics, "emendo_redeliveries_total", "no number")
    services.control.hset(services.keys.metrics, "emendo_of_a_newer_release_total|a|b", 3)
    added(services, client)
    found = scrape(settings)
    assert found.sum("emendo_jobs_ended_total") == 1
    assert (found.sum("emendo_metrics_read"), found.sum("emendo_redeliveries_total")) == (1, 0)


def test_a_worker_that_stops_takes_the_rest_to_redis(services, settings):
    counts: dict[str, int] = {}
    metrics.count(counts, metrics.REDELIVERIES, by=3)
    services.store.tally.add(counts)
    services.stop()
    assert scrape(settings).sum("emendo_redeliveries_total") == 3


def test_an_idle_drain_sends_no_counts(services):
    assert services.store.take_counts() == []


def test_labels_are_bounded_whatever_a_record_says(services, client, settings):
    job = client.add("hello", user_id="ana", infer=False)
    services.control.hset(services.keys.job(job.id), "kind", "my|secret text")
    drain(services, job)
    found = scrape(settings)
    assert found.sum("emendo_jobs_ended_total", kind="other") == 1
    assert "secret" not in found.text


def test_open_jobs_are_shown_for_the_projects_with_most(services, settings, monkeypatch):
    monkeypatch.setattr("emendo_client.exchanges.measurements.NAMED_PROJECTS", 2)
    for project, jobs in (("small", 1), ("large", 3), ("middle", 2), ("smaller", 1)):
        with MemoryClient(settings, project=project) as client:
            for number in range(jobs):
                client.add(f"{number}", user_id="ana", infer=False)
    keep_house(services.store, services.notifier, services.store.control_time())
    found = scrape(settings)
    shown = {project: found.sum("emendo_open_jobs", project=project) for project in ("large", "middle", "other")}
    assert shown == {"large": 3, "middle": 2, "other": 2}
    assert found.sum("emendo_open_jobs") == 7
    assert found.sum("emendo_oldest_open_job_seconds", project="large") > 0


def test_sizes_are_shown(services, client, settings):
    added(services, client)
    found = scrape(settings)
    assert found.sum("emendo_memories") == 1
    assert found.sum("emendo_reembedding_active") == 0
    services.control.hset(services.keys.rate_limit(settings.space.provider), mapping=pace(time.time() + 50))
    services.control.expire(services.keys.rate_limit(settings.space.provider), 60)
    found = scrape(settings)
    assert 30 < found.sum("emendo_rate_limit_wait_seconds", limit="tokens") <= 50
    assert found.sum("emendo_rate_limit_per_minute", limit="requests") == 500


def test_the_size_of_the_cache_is_shown(services, client, settings):
    cached = settings.model_copy(update={"embedding_cache_ttl": 8_000})
    VectorCache(replace(services.store, settings=cached)).put({"a": b"x" * 256, "b": b"y" * 256})
    found = scrape(cached)
    assert found.sum("emendo_embedding_cache_bytes", space=settings.space.name) == 512


def pace(until: float) -> dict[str, str]:
    return {"tokens": str(int(until * 1_000)), "limit_requests": "500"}


def test_what_cannot_be_read_leaves_the_health(services, client, settings):
    added(services, client)
    services.control.set(services.keys.migration, "no hash", ex=60)
    found = scrape(settings)
    assert (found.sum("emendo_metrics_read"), found.sum("emendo_redis_up")) == (0, 1)
    assert found.sum("emendo_jobs_ended_total") == 0
    services.control.delete(services.keys.migration)


def test_a_health_alone_is_a_scrape_too(client):
    assert b"emendo_metrics_read 0.0" in exposition(client.health())


def test_what_happens_between_attempts_and_people_is_counted(services, client, settings, monkeypatch):
    memory_id = added(services, client)
    locked = client.update(memory_id, "second")
    services.data.set(services.keys.lock(memory_id), "another worker's", px=60_000)
    drain(services, locked)
    services.data.delete(services.keys.lock(memory_id))
    assert scrape(settings).sum("emendo_retries_total", reason="LOCKED") == 1
    left = client.update(memory_id, "third")
    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish", stall)
        with pytest.raises(RedisTimeoutError):
            drain(services, left)
    services.control.delete(services.keys.wakeup(shard_of_job(services, left)))
    drain(services, left)
    drain(services, client.update(memory_id, "fourth", expected_version=1, on_conflict="manual"))
    (conflict,) = client.conflicts()
    drain(services, client.resolve_conflict(conflict.id, "ours"))
    found = scrape(settings)
    assert found.sum("emendo_redeliveries_total") == 1
    waiting, resolved = (found.sum("emendo_conflicts_total", event=event) for event in ("waiting", "resolved"))
    assert (waiting, resolved) == (1, 1)
    assert found.sum("emendo_jobs_ended_total", kind="resolve", status="succeeded") == 1


def stall(*_, **__):
    raise RedisTimeoutError


def test_questions_to_the_chat_model_are_counted(emendo_settings, openai_server):
    asked = with_chat(emendo_settings, openai_server)
    services = started(asked)
    try:
        with MemoryClient(asked) as client:
            openai_server.script(facts("Ana likes rice."))
            job = client.add("I like rice.", "ana")
            drain(services, job)
            assert job.wait(1).status == "succeeded"
        found = scrape(asked)
    finally:
        services.stop()
    questions = sum(request.endpoint == "chat" for request in openai_server.requests)
    assert found.sum("emendo_provider_requests_total", kind="chat") == questions > 0
    assert found.sum("emendo_provider_tokens_total", kind="prompt") > 0
    assert found.sum("emendo_provider_tokens_total", kind="completion") > 0
    assert found.sum("emendo_stage_seconds_sum", kind="add", stage="provider") > 0
