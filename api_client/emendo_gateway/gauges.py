"""The metrics that the gateway makes of what it reads in Redis at each scrape, beside those that workers count."""

from __future__ import annotations

from emendo_config.metric_families import Family, Type

_FAMILIES: list[Family] = []


def _declared(name: str, kind: Type, meaning: str, *labels: str) -> Family:
    family = Family(name, kind, meaning, labels)
    _FAMILIES.append(family)
    return family


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return _declared(name, Type.GAUGE, meaning, *labels)


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return _declared(name, Type.COUNTER, meaning, *labels)


REDIS_UP = _gauge("emendo_redis_up", "1 if both Redis planes answer. If not, this is the only metric.")
METRICS_READ = _gauge(
    "emendo_metrics_read",
    "1 if all metrics could be read; 0 if only those of the health could, for which the gateway's log has the reason.",
)
WORKERS = _gauge("emendo_workers", "Worker processes with a sign of life within 30 seconds.")
FAULTY_WORKERS = _gauge(
    "emendo_faulty_workers", "Living workers that leave jobs to others because of a fault of their own; see `/health`."
)
MEMORY_USED = _gauge(
    "emendo_memory_used_bytes",
    "Memory that the `data` or `control` Redis uses, as it compares it with its limit.",
    "plane",
)
MEMORY_LIMIT = _gauge("emendo_memory_limit_bytes", "The `maxmemory` of that Redis; 0 for none.", "plane")
MEMORY_FULL = _gauge(
    "emendo_memory_full", "1 while a Redis is above `EMENDO_MEMORY_WATERMARK`: only erasures are accepted."
)
QUEUED = _gauge("emendo_jobs_queued", "Jobs and chunks in the shard's inbox: waiting or running.", "shard")
WAITING = _gauge("emendo_jobs_waiting", "Chunks and conversations waiting for a place in their project's window.")
DELAYED = _gauge("emendo_jobs_delayed", "Jobs waiting for another attempt.")
OVERDUE = _gauge(
    "emendo_overdue_seconds", "Seconds since the first of them was due; above a few seconds, no worker sweeps."
)
OLDEST = _gauge(
    "emendo_oldest_job_seconds", "Age of the oldest job in the queue's inboxes; 0 if they are empty.", "queue"
)
OPEN_JOBS = _gauge(
    "emendo_open_jobs",
    "Jobs and chunks that have not ended, of the 20 projects with most of them; `other` has the rest. "
    "Absent beyond 2,000 projects.",
    "project",
)
OLDEST_OPEN = _gauge("emendo_oldest_open_job_seconds", "Age of the oldest of them.", "project")
DEAD_LETTERS = _gauge(
    "emendo_dead_letters", "Jobs that failed for good and wait for `emendo dead replay` or `discard`."
)
HOUSEKEEPING = _gauge(
    "emendo_housekeeping_seconds",
    "Seconds since housekeeping last ended, `+Inf` if never; above a few minutes, beat does not run.",
)
BREAKER = _gauge(
    "emendo_circuit_breaker_open",
    "0 if the provider is called freely, 1 if it is not called, or only probed.",
    "provider",
)
PACE_WAIT = _gauge(
    "emendo_rate_limit_wait_seconds",
    "Seconds until the provider's limit of `requests` or `tokens` has room for a call again.",
    "provider",
    "limit",
)
PACE_STATED = _gauge(
    "emendo_rate_limit_per_minute", "The limit that the provider stated; 0 for none.", "provider", "limit"
)
MEMORIES = _gauge("emendo_memories", "Memories in the index, deleted ones too.")
CACHE_BYTES = _gauge(
    "emendo_embedding_cache_bytes", "Vectors that may still be cached in Redis, by embedding space.", "space"
)
REEMBEDDING_ACTIVE = _gauge("emendo_reembedding_active", "1 while a re-embedding is under way, paused or not.")
REEMBEDDING_MEMORIES = _gauge(
    "emendo_reembedding_memories", "Memories of the latest re-embedding: `done`, `failed` or `left`.", "state"
)
INFERENCE_REQUESTS = _counter(
    "emendo_inference_requests_total", "Requests for adds with `infer`: `chat`, `embedding`.", "kind"
)
INFERENCE_TOKENS = _counter(
    "emendo_inference_tokens_total",
    "Tokens of these requests: `prompt` and `completion` of the chat model, `embedding`.",
    "kind",
)
INFERENCE_DECISIONS = _counter(
    "emendo_inference_decisions_total", "Facts by decision: `ADD`, `UPDATE`, `DELETE`, `NONE`.", "event"
)
INFERENCE_FALLBACKS = _counter(
    "emendo_inference_fallbacks_total", "Facts without a usable answer, by reason (`UNKNOWN_MEMORY`, …).", "code"
)
INFERENCE_DEGRADED = _counter(
    "emendo_inference_degraded_jobs_total", "Adds with `infer` that ran without a chat model."
)

# Those above, by name.
READ: dict[str, Family] = {family.name: family for family in _FAMILIES}
