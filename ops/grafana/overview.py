"""The first dashboard: is Emendo healthy? The four targets, what must be there, the work, the alerts."""

# ruff: noqa: INP001  # beside a script, not a package

from __future__ import annotations

from panels import GREEN, RED, YELLOW, Json, Query, dashboard, gauge, lines, quantile, rated, stat, table

LATENCY, CHANGES = "emendo_commit_latency_seconds", "emendo_operations_total"
# As in ops/prometheus/rules.yml: adds may wait for the chat model, and the items of a batch wait for one another.
UPDATES = 'kind=~"update|delete|restore"'
# The inbox's shard begins with the queue's name; those of interactive jobs are numbers.
LANES = (
    'sum by (lane) (label_replace(label_replace(max by (job, shard) (emendo_jobs_queued{job="$job"}), '
    '"lane", "interactive", "shard", ".*"), "lane", "$1", "shard", "(inference|bulk|maintenance).*"))'
)


def _firing(severity: str) -> str:
    """The alerts that fire; EmendoNotSeen has no job."""
    return f'ALERTS{{alertstate="firing", alertname=~"Emendo.*", job=~"$job|", severity=~"{severity}"}}'


_TARGETS = [
    stat(
        "Time of an update (p95), target below 100 ms",
        "95 of 100 updates, deletes and restores take no longer from acceptance to their recorded result. Mean of five "
        "minutes. Red from 100 ms.",
        'job:emendo_update_latency_seconds:p95_5m{job="$job"}',
        unit="s",
        steps=((GREEN, None), (RED, 0.1)),
        empty="no updates",
        alerts=["EmendoUpdatesSlow"],
        trend=True,
    ),
    stat(
        "Changes per second, target 1,000 under load",
        "Adds, updates, deletes and restores that workers ended, mean of five minutes. A quiet system has few. It is "
        "too slow only while jobs wait: see the backlog below.",
        'job:emendo_operations:rate5m{job="$job"}',
        unit="none",
        decimals=0,
        alerts=["EmendoUpdatesTooFew"],
        trend=True,
    ),
    stat(
        "Vector cache, target below 1 GB",
        "Bytes of embedding vectors that may still be cached in Redis, over all embedding spaces.",
        'job:emendo_embedding_cache_bytes:sum{job="$job"}',
        unit="decbytes",
        steps=((GREEN, None), (RED, 1e9)),
        alerts=["EmendoCacheTooLarge"],
        trend=True,
    ),
    stat(
        "Failed changes, target below 0.1 %",
        "Share of changes that failed for good through no fault of the request, mean of five minutes. Each is a dead "
        "letter and can be replayed.",
        'job:emendo_operations_failed:ratio_rate5m{job="$job"}',
        unit="percentunit",
        steps=((GREEN, None), (RED, 0.001)),
        empty="no changes",
        decimals=2,
        alerts=["EmendoChangesFail"],
        trend=True,
    ),
]

_PARTS = [
    stat(
        "Redis",
        "Whether both Redis planes answer. If not, nothing is accepted and nothing is read.",
        gauge("emendo_redis_up"),
        steps=((RED, None), (GREEN, 1)),
        texts={0: "DOWN", 1: "up"},
        alerts=["EmendoRedisDown"],
        width=3,
    ),
    stat(
        "Workers",
        "Worker processes with a sign of life within 30 seconds. At 0, jobs are accepted and wait.",
        gauge("emendo_workers"),
        steps=((RED, None), (GREEN, 1)),
        alerts=["EmendoNoWorkers"],
        width=3,
    ),
    stat(
        "Faulty workers",
        "Living workers that leave jobs to others because of a fault of their own, such as a refused key.",
        gauge("emendo_faulty_workers"),
        steps=((GREEN, None), (RED, 1)),
        alerts=["EmendoFaultyWorkers"],
        width=3,
    ),
    stat(
        "Room in Redis",
        "Full: a Redis is above EMENDO_MEMORY_WATERMARK, and accepts only erasures.",
        gauge("emendo_memory_full"),
        steps=((GREEN, None), (RED, 1)),
        texts={0: "free", 1: "FULL"},
        alerts=["EmendoMemoryFull"],
        width=3,
    ),
    stat(
        "Provider",
        "Paused: the circuit breaker is open because an embedding or chat provider keeps failing. Its jobs wait.",
        f"{gauge('emendo_circuit_breaker_open')} or on (job) 0 * {gauge('emendo_redis_up')}",
        steps=((GREEN, None), (RED, 1)),
        texts={0: "answers", 1: "PAUSED"},
        alerts=["EmendoCircuitBreakerOpen"],
        width=3,
    ),
    stat(
        "Dead letters",
        "Jobs that failed for good. They wait for a replay or for being discarded.",
        gauge("emendo_dead_letters"),
        steps=((GREEN, None), (YELLOW, 1)),
        alerts=["EmendoDeadLettersGrow"],
        width=3,
    ),
    stat(
        "Last housekeeping",
        "Time since housekeeping last ended. Above ten minutes, beat or its worker does not run.",
        gauge("emendo_housekeeping_seconds"),
        unit="s",
        steps=((GREEN, None), (RED, 600)),
        alerts=["EmendoNobodyKeepsHouse", "EmendoNobodySweeps"],
        decimals=0,
        width=3,
    ),
    stat(
        "Metrics",
        "Whether the gateway can read all metrics. If not, the panels of work and latency are blind.",
        'min by (job) (emendo_metrics_read{job="$job"})',
        steps=((RED, None), (GREEN, 1)),
        texts={0: "INCOMPLETE", 1: "complete"},
        alerts=["EmendoMetricsUnread", "EmendoNotSeen"],
        width=3,
    ),
]

_WORK = [
    lines(
        "Time of an update",
        "From acceptance to the recorded result, of updates, deletes and restores: half, 95 and 99 of 100 take no "
        "longer. The dashed line is the target for p95.",
        *(
            Query(quantile(share, LATENCY, "kind", where=UPDATES), name)
            for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        unit="s",
        target=0.1,
        empty="no updates",
        alerts=["EmendoUpdatesSlow"],
    ),
    lines(
        "Changes per second, by result",
        "ADD, UPDATE, DELETE and RESTORE changed a memory. UNCHANGED had nothing to change, REFUSED was the request's "
        "own fault, FAILED may succeed on a replay.",
        Query(f"sum by (result) ({rated(CHANGES, 'kind', 'result')})", "{{result}}"),
        unit="none",
        stacked=True,
        alerts=["EmendoUpdatesTooFew", "EmendoChangesFail"],
    ),
    lines(
        "Backlog: jobs by queue",
        "Jobs and chunks in the inboxes, waiting or running. `delayed` waits for another attempt, `window` for a place "
        "in its project's window.",
        Query(LANES, "{{lane}}"),
        Query(gauge("emendo_jobs_delayed"), "delayed"),
        Query(gauge("emendo_jobs_waiting"), "window"),
        stacked=True,
        alerts=["EmendoUpdatesTooFew"],
    ),
    lines(
        "Age of the oldest job, by queue",
        "How long the oldest job of each queue has been there. Somebody waits for interactive jobs: two minutes are an "
        "alert. For the other queues an hour is one.",
        Query(gauge("emendo_oldest_job_seconds", "queue"), "{{queue}}"),
        unit="s",
        target=120,
        alerts=["EmendoJobsWaitTooLong", "EmendoSlowWorkWaitsTooLong"],
    ),
]

_ALERTS = [
    stat(
        "Alerts that fire now",
        "Alerts of ops/prometheus/rules.yml. Critical ones page a person.",
        f"count({_firing('.*')}) or vector(0)",
        steps=((GREEN, None), (RED, 1)),
        width=4,
        height=6,
    ),
    table(
        "Which alerts",
        "The dashboard “when you are paged” has a section for each.",
        Query(f"max by (alertname, severity) ({_firing('.*')})"),
        {"alertname": "alert", "severity": "severity"},
        width=8,
        height=6,
        empty="no alert fires",
        alerts=["When you are paged"],
    ),
    lines(
        "Alerts over time",
        "Number of alerts that fired.",
        *(Query(f"count({_firing(severity)}) or vector(0)", severity) for severity in ("critical", "warning")),
        width=12,
        height=6,
    ),
]


def overview(places: dict[str, int]) -> Json:
    """The dashboard; `places` has the id of each alert's panel on the runbook's dashboard."""
    return dashboard(
        "emendo-overview",
        "Emendo: is it healthy?",
        "Green is good. Blue has no limit. Each panel's link leads to what to do.",
        [
            ("The four targets", _TARGETS),
            ("Is everything there?", _PARTS),
            ("The work", _WORK),
            ("Alerts", _ALERTS),
        ],
        places,
    )
