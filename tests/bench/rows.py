"""The table: every figure, its baseline, and what it is to reach."""

from __future__ import annotations

from emendo_ops.bench.figure import Part, Row, Source, Target
from emendo_ops.bench.updates import IN_FLIGHT

PEER = "mem0"
BEFORE = "before"


def _ratio(metric: str, contender: str, kind, bound: float, unit: str, *, base: str = "", **more) -> tuple[Part, ...]:
    baseline = Source(contender, base or metric)
    return (Part(Source("emendo", metric), baseline, Target(kind, bound), source_unit=unit, **more),)


def _value(metric: str, kind, bound: float, unit: str, **more) -> Part:
    return Part(Source("emendo", metric), reach=Target(kind, bound), unit=unit, **more)


def _before(metric: str, kind, bound: float, unit: str, ratio: float, **more) -> tuple[Part, ...]:
    """A figure with a bound of its own, and its ratio to the release before."""
    than = Source(BEFORE, metric)
    return (
        _value(metric, kind, bound, unit, **more),
        Part(Source("emendo", metric), than, Target(kind, ratio), source_unit=unit, digits=3),
    )


SINGLES = f"single client.update jobs/s, {IN_FLIGHT} calls in flight, one worker process, job events on"
OLDER = "the release before, from git"
BATCH = "batch_update of 20,000 memories, updates/s"

ROWS = (
    Row("singles-celery", SINGLES, "Celery no-op tasks/s", "singles", _ratio("rate", "celery", "≥", 5, "/s")),
    Row("singles-bare", SINGLES, "the bare script", "singles", _ratio("rate", "bare", "≥", 0.5, "/s")),
    Row("singles-mem0", SINGLES, "mem0's update in 64 threads", "singles", _ratio("rate", PEER, "≥", 25, "/s")),
    Row(
        "batch-bare",
        BATCH,
        "the bare script, as many requests in flight",
        "batch",
        _ratio("rate", "bare", "≥", 0.7, "/s"),
    ),
    Row("batch-mem0", BATCH, "mem0's update in 64 threads", "batch", _ratio("rate", PEER, "≥", 50, "/s")),
    Row(
        "requests",
        "provider requests per 1,000 single updates at saturation",
        "1,000",
        "singles",
        (_value("requests", "≤", 50, "", digits=0),),
    ),
    Row(
        "metadata",
        "metadata-only batch_update, updates/s",
        "updates with new text",
        "metadata",
        _ratio("metadata_rate", "emendo", "≥", 3, "/s", base="text_rate"),
    ),
    Row(
        "reembed",
        "re-embedding 20,000 memories, 256 to 1,536 dimensions, vectors/s",
        "the bare script, as many requests in flight",
        "reembed",
        _ratio("rate", "bare", "≥", 0.7, "/s"),
    ),
    Row(
        "enqueue", "latency of client.update, p50", "bare send_task", "enqueue", _ratio("p50", "celery", "≤", 0.5, "ms")
    ),
    Row(
        "gateway-enqueue",
        "latency of a change through the gateway beyond that of client.update, p50",
        "–",
        "gateway",
        (_value("beyond", "≤", 3, "ms"),),
    ),
    Row(
        "gateway-route",
        "adds that the gateway accepts, requests/s",
        "a bare FastAPI route with the same body",
        "gateway",
        _ratio("rate", "bare", "≥", 0.5, "/s"),
    ),
    Row(
        "gateway-batch",
        "batches of 1,000 updates through the gateway, updates/s",
        "the same by client.batch_update",
        "gateway",
        _ratio("batch_rate", "emendo", "≥", 0.8, "/s", base="client_rate"),
    ),
    Row(
        "gateway-health",
        "latency of /health while the gateway accepts as many adds as it can, p99",
        "–",
        "gateway",
        (_value("health_p99", "≤", 20, "ms"),),
    ),
    Row(
        "gateway-health-bare",
        "latency of /health while the gateway accepts as many adds as it can, p99",
        "a bare route that asks nobody, under the bare route's load",
        "gateway",
        _ratio("health_p99", "bare", "≤", 2, "ms"),
    ),
    Row(
        "visible",
        "enqueue → visible in search at 50 updates/s, provider time subtracted",
        "–",
        "visible",
        (_value("p50", "≤", 25, "ms", label="p50"), _value("p99", "≤", 150, "ms", label="p99")),
    ),
    Row(
        "search",
        "scoped search at 100,000 memories, query embedding cached, p50",
        "raw FT.SEARCH",
        "search",
        _ratio("p50", "raw", "≤", 1.6, "ms"),
    ),
    Row(
        "hybrid",
        "scoped search by meaning and words at 100,000 memories, query embedding cached, p50",
        "the same by meaning alone",
        "hybrid",
        _ratio("hybrid_p50", "emendo", "≤", 3, "ms", base="p50"),
    ),
    Row(
        "size",
        "update throughput at 200,000 stored memories",
        "at 2,000",
        "size",
        _ratio("large_rate", "emendo", "≥", 0.85, "/s", base="small_rate"),
    ),
    Row(
        "bytes",
        "bytes per memory beyond its text and vector, one history entry",
        "–",
        "bytes",
        (_value("bytes", "≤", 1_500, "bytes", digits=0),),
    ),
    Row(
        "resident",
        "worker resident memory after 100,000 updates",
        "after 10,000",
        "resident",
        _ratio("after_mb", "emendo", "≤", 1.15, "MB", base="before_mb"),
    ),
    Row(
        "history",
        "bytes of history for an update of 200 characters, with 100 of metadata",
        OLDER,
        "history",
        _ratio("bytes", BEFORE, "≤", 0.75, "bytes"),
    ),
    Row(
        "erase-letters",
        "hard delete beside 100,000 dead letters of another project, from the call to its end",
        OLDER,
        "erase-letters",
        _before("ms", "≤", 20, "ms", 0.1),
    ),
    Row(
        "erase-versions",
        "worst PING of another connection while a memory with 100,000 versions is erased",
        OLDER,
        "erase-versions",
        _before("ping_ms", "≤", 50, "ms", 0.1),
    ),
    Row(
        "behind-batch",
        "batch of 5 behind another project's batch of 20,000",
        OLDER,
        "behind-batch",
        _before("seconds", "≤", 1, "s", 0.5),
    ),
    Row(
        "behind-adds",
        "inferred add behind another project's 200",
        OLDER,
        "behind-adds",
        _before("seconds", "≤", 2, "s", 0.25),
    ),
    Row(
        "behind-lock",
        "retry beside another project's 5,000 jobs that wait for one lock",
        OLDER,
        "behind-lock",
        _before("seconds", "≤", 2, "s", 0.5),
    ),
    Row(
        "due",
        "jobs done a second when 10,000 are due after an outage",
        OLDER,
        "due",
        _ratio("rate", BEFORE, "≥", 1.5, "/s"),
    ),
)


def chosen(names: list[str] | None, *, with_peers: bool) -> list[Row]:
    """The rows to measure: those named, else those that need (or do not need) the peers' environment."""
    if names:
        return [row for row in ROWS if row.name in names]
    return [row for row in ROWS if (PEER in row.contenders) == with_peers]
