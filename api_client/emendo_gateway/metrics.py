"""Metrics for Prometheus, made from a `Health` and `Measurements`; docs/reference/metrics.md lists them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from emendo_client.exchanges.health import Health, InferenceUsage
from emendo_client.exchanges.measurements import Measurements
from emendo_client.exchanges.reembedding.models import Migration
from emendo_config.metric_families import COUNTED, FAILED, OPERATIONS, Family, Type, counters_of, histograms_of
from emendo_gateway import gauges


class HealthCollector(Collector):
    """One reading as metrics.

    If Redis cannot be used, `emendo_redis_up` is the only metric: zeros would read as an empty backlog.

    Args:
        health: the reading.
        measured: the further reading; None when it failed.
    """

    def __init__(self, health: Health, measured: Measurements | None) -> None:
        self._health = health
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """The metrics, each once."""
        yield _one(gauges.REDIS_UP, self._health.redis)
        if not self._health.redis:
            return
        yield from _health(self._health)
        yield from _inference(self._health.inference)
        yield _one(gauges.METRICS_READ, self._measured is not None)
        if self._measured is not None:
            yield from _measurements(self._measured)
            yield from _counted(self._measured.counts)


def exposition(health: Health, measured: Measurements | None = None) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(HealthCollector(health, measured))
    return generate_latest(registry)


def _health(health: Health) -> Iterator[Metric]:
    yield _one(gauges.WORKERS, health.workers)
    yield _one(gauges.FAULTY_WORKERS, len(health.worker_faults))
    yield _many(gauges.MEMORY_USED, {(plane,): memory.used for plane, memory in health.memory.items()})
    yield _many(gauges.MEMORY_LIMIT, {(plane,): memory.limit for plane, memory in health.memory.items()})
    yield _one(gauges.MEMORY_FULL, health.full)
    yield _many(gauges.QUEUED, {(str(shard),): count for shard, count in health.queued_by_shard.items()})
    yield _one(gauges.WAITING, health.waiting)
    yield _one(gauges.DELAYED, health.delayed)
    yield _one(gauges.OVERDUE, health.overdue_seconds)
    yield _many(gauges.OLDEST, {(queue,): age for queue, age in health.oldest_job_seconds.items()})
    yield _one(gauges.DEAD_LETTERS, health.dead)
    kept = health.housekeeping_seconds
    yield _one(gauges.HOUSEKEEPING, math.inf if kept is None else kept)
    breakers = health.circuit_breakers.items()
    yield _many(gauges.BREAKER, {(provider,): breaker.state != "closed" for provider, breaker in breakers})


def _inference(used: InferenceUsage) -> Iterator[Metric]:
    requests = {("chat",): used.chat_requests, ("embedding",): used.embedding_requests}
    yield _many(gauges.INFERENCE_REQUESTS, requests)
    tokens = {
        ("prompt",): used.prompt_tokens,
        ("completion",): used.completion_tokens,
        ("embedding",): used.embedding_tokens,
    }
    yield _many(gauges.INFERENCE_TOKENS, tokens)
    yield _many(gauges.INFERENCE_DECISIONS, {(event,): count for event, count in used.decisions.items()})
    yield _many(gauges.INFERENCE_FALLBACKS, {(code,): count for code, count in used.fallbacks.items()})
    yield _one(gauges.INFERENCE_DEGRADED, used.degraded_jobs)


def _measurements(measured: Measurements) -> Iterator[Metric]:
    yield _one(gauges.MEMORIES, measured.memories)
    yield _many(gauges.CACHE_BYTES, {(space,): size for space, size in measured.cache_bytes.items()})
    yield _many(gauges.PACE_WAIT, {labels: pace.wait for labels, pace in measured.paces.items()})
    yield _many(gauges.PACE_STATED, {labels: pace.stated for labels, pace in measured.paces.items()})
    if measured.projects is not None:
        projects = measured.projects.items()
        yield _many(gauges.OPEN_JOBS, {(project,): jobs.number for project, jobs in projects})
        yield _many(gauges.OLDEST_OPEN, {(project,): jobs.age for project, jobs in projects})
    yield from _reembedding(measured.reembedding)


def _reembedding(latest: Migration | None) -> Iterator[Metric]:
    yield _one(gauges.REEMBEDDING_ACTIVE, latest is not None and latest.active)
    if latest is not None:
        left = max(0, latest.total - latest.done - latest.failed)
        states = {("done",): latest.done, ("failed",): latest.failed, ("left",): left}
        yield _many(gauges.REEMBEDDING_MEMORIES, states)


def _counted(counts: Mapping[str, int]) -> Iterator[Metric]:
    for family in COUNTED.values():
        if family.type is Type.COUNTER:
            counters = counters_of(family, counts)
            if family is OPERATIONS:  # a series that begins at 1 has no rate, and its first failure no alert
                counters = {(kind, FAILED): 0 for kind, _ in counters} | counters
            yield _many(family, counters if family.labels else {(): 0, **counters})
            continue
        metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
        for labels, seen in histograms_of(family, counts).items():
            metric.add_metric(labels, seen.buckets, seen.sum)
        yield metric


def _one(family: Family, value: float) -> Metric:
    return _many(family, {(): value})


def _many(family: Family, values: Mapping[Any, float]) -> Metric:
    """The metric, with values by tuples of label values."""
    made = CounterMetricFamily if family.type is Type.COUNTER else GaugeMetricFamily
    metric = made(family.name, family.meaning, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric
