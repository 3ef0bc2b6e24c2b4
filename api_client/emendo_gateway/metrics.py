"""Metrics for Prometheus, made from a `Health`; docs/reference/metrics.md describes each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from emendo_client.exchanges.health import Health, InferenceUsage


class HealthCollector(Collector):
    """One `Health` as metrics.

    If Redis cannot be used, `emendo_redis_up` is the only metric: zeros would read as an empty backlog.
    """

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """The metrics, each once."""
        health = self._health
        yield GaugeMetricFamily("emendo_redis_up", "1 when both Redis planes answer.", value=health.redis)
        if not health.redis:
            return
        yield GaugeMetricFamily("emendo_workers", "Workers heard of within 30 seconds.", value=health.workers)
        yield GaugeMetricFamily(
            "emendo_faulty_workers", "Living workers that leave jobs to others.", value=len(health.worker_faults)
        )
        used = GaugeMetricFamily("emendo_memory_used_bytes", "Memory that Redis uses.", labels=["plane"])
        limit = GaugeMetricFamily("emendo_memory_limit_bytes", "Redis' maxmemory; 0 for none.", labels=["plane"])
        for plane, memory in health.memory.items():
            used.add_metric([plane], memory.used)
            limit.add_metric([plane], memory.limit)
        yield used
        yield limit
        yield GaugeMetricFamily("emendo_memory_full", "1 while only erasures are accepted.", value=health.full)
        queued = GaugeMetricFamily("emendo_jobs_queued", "Jobs waiting or being worked.", labels=["shard"])
        for shard, count in health.queued_by_shard.items():
            queued.add_metric([str(shard)], count)
        yield queued
        yield GaugeMetricFamily(
            "emendo_jobs_waiting", "Jobs waiting for a place in their project's window.", value=health.waiting
        )
        yield GaugeMetricFamily("emendo_jobs_delayed", "Jobs waiting for another attempt.", value=health.delayed)
        yield GaugeMetricFamily(
            "emendo_overdue_seconds", "How long the first delayed job has been due.", value=health.overdue_seconds
        )
        oldest = GaugeMetricFamily(
            "emendo_oldest_job_seconds", "How long the first job of any inbox has been there.", labels=["queue"]
        )
        for queue, age in health.oldest_job_seconds.items():
            oldest.add_metric([queue], age)
        yield oldest
        yield GaugeMetricFamily("emendo_dead_letters", "Jobs that failed for good.", value=health.dead)
        yield GaugeMetricFamily(
            "emendo_housekeeping_seconds",
            "How long ago housekeeping last ended.",
            value=math.inf if health.housekeeping_seconds is None else health.housekeeping_seconds,
        )
        breakers = GaugeMetricFamily(
            "emendo_circuit_breaker_open", "0 when the provider is called freely.", labels=["provider"]
        )
        for provider, breaker in health.circuit_breakers.items():
            breakers.add_metric([provider], breaker.state != "closed")
        yield breakers
        yield from _inference(health.inference)


def _inference(used: InferenceUsage) -> Iterator[Metric]:
    requests = {"chat": used.chat_requests, "embedding": used.embedding_requests}
    yield _counter("emendo_inference_requests", "Requests made for inference.", "kind", requests)
    tokens = {
        "prompt": used.prompt_tokens,
        "completion": used.completion_tokens,
        "embedding": used.embedding_tokens,
    }
    yield _counter("emendo_inference_tokens", "Tokens used for inference.", "kind", tokens)
    yield _counter("emendo_inference_decisions", "Facts by what became of them.", "event", used.decisions)
    yield _counter(
        "emendo_inference_fallbacks", "Facts for which the model's answer was of no use.", "code", used.fallbacks
    )
    yield CounterMetricFamily(
        "emendo_inference_degraded_jobs", "Jobs worked without a chat model.", value=used.degraded_jobs
    )


def _counter(name: str, description: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, description, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def exposition(health: Health) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(HealthCollector(health))
    return generate_latest(registry)
