"""The dashboards behind the first one: latency by stage, providers, Redis and store, tenants."""

# ruff: noqa: INP001  # beside a script, not a package

from __future__ import annotations

from panels import GREEN, RED, Json, Query, dashboard, gauge, heatmap, lines, quantile, rated, stat, variable

_KIND = 'kind=~"$kind"'
_ALL_STAGES = ("kind", "stage")
# The mean of a stage: the seconds spent in it by the number of operations.
_MEAN = (
    f"sum by (stage) ({rated('emendo_stage_seconds_sum', *_ALL_STAGES, where=_KIND)}) / "
    f"sum by (stage) ({rated('emendo_stage_seconds_count', *_ALL_STAGES, where=_KIND)})"
)
_BELOW = rated("emendo_commit_latency_seconds_bucket", "kind", where=f'le="0.1", {_KIND}')
_ALL = rated("emendo_commit_latency_seconds_count", "kind", where=_KIND)


def stages(places: dict[str, int]) -> Json:
    """Where the time of a job goes."""
    time = [
        lines(
            "Where the time goes: mean by stage",
            "The stages add up to the mean time of an operation. `queue`: until the first attempt. `retry`: from there "
            "to the last one. `lock`: locking and reading. `provider`: vectors and chat model. `commit`: until the "
            "record.",
            Query(_MEAN, "{{stage}}"),
            unit="s",
            stacked=True,
            alerts=["EmendoUpdatesSlow"],
        ),
        lines(
            "Slow operations: p95 by stage",
            "95 of 100 operations spend no longer in the stage. These do not add up.",
            Query(quantile(0.95, "emendo_stage_seconds", *_ALL_STAGES, by="stage", where=_KIND), "{{stage}}"),
            unit="s",
            alerts=["EmendoUpdatesSlow"],
        ),
        lines(
            "Time of an operation by kind: p95",
            "From acceptance to the recorded result. The target of 100 ms is for update, delete and restore. Adds with "
            "the chat model take seconds.",
            Query(
                quantile(0.95, "emendo_commit_latency_seconds", "kind", by="kind", where=_KIND),
                "{{kind}}",
            ),
            unit="s",
            target=0.1,
            alerts=["EmendoUpdatesSlow"],
        ),
        heatmap(
            "Time of operations: how many took how long",
            "Each column is a moment, each row a bucket of the histogram; darker means more operations.",
            f"sum by (le) ({rated('emendo_commit_latency_seconds_bucket', 'kind', 'le', where=_KIND)})",
            unit="s",
        ),
    ]
    around = [
        lines(
            "Share within 100 ms",
            "Operations of the chosen kinds that took at most 100 ms, counted and not interpolated.",
            Query(f"sum({_BELOW}) / sum({_ALL})", "within 100 ms"),
            unit="percentunit",
            empty="no operations",
            width=8,
        ),
        lines(
            "Attempts that another one follows, per second",
            "By reason: an error's code, LOCKED (another worker has the memory), HANDED_OVER (to a worker with the "
            "chat model). `redelivered` are jobs that a dead or stalled reader left.",
            Query(f"sum by (reason) ({rated('emendo_retries_total', 'reason')})", "{{reason}}"),
            Query(rated("emendo_redeliveries_total"), "redelivered"),
            unit="none",
            width=8,
            alerts=["EmendoUpdatesSlow"],
        ),
        lines(
            "Jobs that a drain works together",
            "Half, and 95 of 100 drains take no more jobs at once. Larger batches mean a backlog, and fewer round "
            "trips.",
            *(Query(quantile(share, "emendo_drain_batch_jobs"), name) for share, name in ((0.5, "p50"), (0.95, "p95"))),
            unit="none",
            width=8,
        ),
    ]
    kind = variable("kind", "Kind", 'label_values(emendo_commit_latency_seconds_count{job="$job"}, kind)', multi=True)
    return dashboard(
        "emendo-stages",
        "Emendo: latency by stage",
        "Where the time of a job goes, from its acceptance to its recorded result.",
        [("Time", time), ("Around it", around)],
        places,
        variables=[kind],
    )


_MISSES = rated("emendo_embedding_cache_lookups_total", "result", where='result="miss"')
_LOOKUPS = rated("emendo_embedding_cache_lookups_total", "result")


def providers(places: dict[str, int]) -> Json:
    """The embedding provider and the chat model: requests, times, errors, limits, tokens."""
    requests = [
        lines(
            "Requests per second",
            "Of workers, answered or not: `embedding` to the embedding provider, `chat` to the chat model.",
            Query(f"sum by (kind) ({rated('emendo_provider_requests_total', 'kind')})", "{{kind}}"),
            unit="none",
            width=8,
        ),
        lines(
            "Time of a request: p95",
            "95 of 100 requests take no longer, answered or not.",
            Query(quantile(0.95, "emendo_provider_request_seconds", "kind", by="kind"), "{{kind}}"),
            unit="s",
            width=8,
            alerts=["EmendoUpdatesSlow"],
        ),
        lines(
            "Failed requests per second, by code",
            "docs/reference/errors.md explains the codes.",
            Query(
                f"sum by (kind, code) ({rated('emendo_provider_errors_total', 'kind', 'code')})", "{{kind}} {{code}}"
            ),
            unit="none",
            width=8,
            empty="no errors",
            alerts=["EmendoCircuitBreakerOpen", "EmendoFaultyWorkers"],
        ),
    ]
    limits = [
        lines(
            "Circuit breaker: 1 is open",
            "An open circuit breaker sends no request but a probe. Jobs that need the provider wait.",
            Query(gauge("emendo_circuit_breaker_open", "provider"), "{{provider}}"),
            unit="none",
            width=8,
            alerts=["EmendoCircuitBreakerOpen"],
        ),
        lines(
            "Wait for the provider's limit",
            "Time until the limit of requests or tokens has room for a call again. Above 0 the limit sets the speed.",
            Query(gauge("emendo_rate_limit_wait_seconds", "provider", "limit"), "{{provider}} {{limit}}"),
            unit="s",
            width=8,
            alerts=["EmendoUpdatesTooFew"],
        ),
        lines(
            "Limit per minute that the provider stated",
            "Requests and tokens per minute; 0 where it stated none.",
            Query(gauge("emendo_rate_limit_per_minute", "provider", "limit"), "{{provider}} {{limit}}"),
            width=8,
        ),
    ]
    cost = [
        lines(
            "Tokens per minute",
            "As the providers counted them: `embedding`, and `prompt` and `completion` of the chat model.",
            Query(f"60 * sum by (kind) ({rated('emendo_provider_tokens_total', 'kind')})", "{{kind}}"),
            width=8,
        ),
        lines(
            "Texts in a request",
            "Half, and 95 of 100 requests to the embedding provider carry no more texts.",
            *(
                Query(quantile(share, "emendo_embedding_request_texts"), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"))
            ),
            unit="none",
            width=8,
        ),
        lines(
            "Vectors found without a request",
            "Share of texts whose vector was in the process, in Redis, or asked for already.",
            Query(f"1 - sum({_MISSES}) / sum({_LOOKUPS})", "found"),
            unit="percentunit",
            empty="no texts",
            width=8,
        ),
    ]
    inference = [
        lines(
            "Facts by decision, per second",
            "What the chat model decided for the facts of conversations. NONE: known already.",
            Query(f"sum by (event) ({rated('emendo_inference_decisions_total', 'event')})", "{{event}}"),
            unit="none",
            width=6,
        ),
        lines(
            "Facts without a usable answer, per second",
            "By reason. They are added as they are, so duplicates accumulate. `degraded`: adds without a chat model.",
            Query(f"sum by (code) ({rated('emendo_inference_fallbacks_total', 'code')})", "{{code}}"),
            Query(rated("emendo_inference_degraded_jobs_total"), "degraded"),
            unit="none",
            width=6,
            alerts=["EmendoInferenceFallsBack"],
        ),
        lines(
            "Requests for adds with `infer`, per second",
            "To the chat model, and for the vectors of facts.",
            Query(f"sum by (kind) ({rated('emendo_inference_requests_total', 'kind')})", "{{kind}}"),
            unit="none",
            width=6,
        ),
        lines(
            "Tokens of adds with `infer`, per minute",
            "A part of the tokens above: `prompt` and `completion` of the chat model, `embedding`.",
            Query(f"60 * sum by (kind) ({rated('emendo_inference_tokens_total', 'kind')})", "{{kind}}"),
            width=6,
        ),
    ]
    return dashboard(
        "emendo-providers",
        "Emendo: providers",
        "The embedding provider and the chat model, as the workers see them.",
        [
            ("Requests", requests),
            ("Limits", limits),
            ("Cost", cost),
            ("Memories from conversations", inference),
        ],
        places,
    )


def redis(places: dict[str, int]) -> Json:
    """Redis' memory, what is stored, and what cleans up."""
    memory = [
        lines(
            "Memory of Redis",
            "What each Redis uses: `data` has memories and vectors, `control` the jobs. One Redis may be both.",
            Query(gauge("emendo_memory_used_bytes", "plane"), "{{plane}} used"),
            Query(gauge("emendo_memory_limit_bytes", "plane") + " > 0", "{{plane}} limit (maxmemory)"),
            unit="decbytes",
            alerts=["EmendoMemoryFull"],
        ),
        lines(
            "Share of its limit",
            "Used memory by maxmemory. At EMENDO_MEMORY_WATERMARK, 0.95 unless set, only erasures are accepted. "
            "Without a maxmemory there is no share.",
            Query(
                f"{gauge('emendo_memory_used_bytes', 'plane')} / ({gauge('emendo_memory_limit_bytes', 'plane')} > 0)",
                "{{plane}}",
            ),
            unit="percentunit",
            target=0.95,
            empty="no maxmemory",
            alerts=["EmendoMemoryFull"],
        ),
    ]
    store = [
        stat(
            "Memories",
            "In the index, deleted ones too.",
            gauge("emendo_memories"),
            unit="locale",
            width=6,
            trend=True,
        ),
        stat(
            "Bytes of the data Redis for each memory",
            "All memory of the data Redis by the number of memories: a rule for sizing once there are many.",
            gauge("emendo_memory_used_bytes", where='plane="data"') + f" / ({gauge('emendo_memories')} > 0)",
            unit="decbytes",
            empty="no memories",
            width=6,
        ),
        stat(
            "Re-embedding",
            "Open from its start until it is finalized or rolled back, paused or not.",
            gauge("emendo_reembedding_active"),
            texts={0: "none", 1: "open"},
            width=6,
        ),
        stat(
            "Jobs due but not swept",
            "Time since the first delayed job was due. Above a few seconds, no worker sweeps.",
            gauge("emendo_overdue_seconds"),
            unit="s",
            steps=((GREEN, None), (RED, 60)),
            alerts=["EmendoNobodySweeps"],
            width=6,
        ),
        lines(
            "Vector cache in Redis, by embedding space",
            "Vectors that may still be cached. The target is below 1 GB in all.",
            Query(gauge("emendo_embedding_cache_bytes", "space"), "{{space}}"),
            unit="decbytes",
            alerts=["EmendoCacheTooLarge"],
        ),
        lines(
            "Where vectors came from, per second",
            "Texts that needed a vector: found in the process, in Redis, asked for already (in_flight), or a miss.",
            Query(f"sum by (result) ({rated('emendo_embedding_cache_lookups_total', 'result')})", "{{result}}"),
            unit="none",
            stacked=True,
        ),
        lines(
            "Re-embedding: memories",
            "Of the latest re-embedding: done, failed, and left.",
            Query(gauge("emendo_reembedding_memories", "state"), "{{state}}"),
            stacked=True,
            empty="never",
        ),
        lines(
            "Changes decided again or by people, per second",
            "Conflicts that began to wait for a person, were resolved, or were decided again because the memory had "
            "changed (repeated).",
            Query(f"sum by (event) ({rated('emendo_conflicts_total', 'event')})", "{{event}}"),
            unit="none",
        ),
    ]
    return dashboard(
        "emendo-redis",
        "Emendo: Redis and store",
        "Memory, what is stored, and what keeps it in order.",
        [("Memory", memory), ("Store", store)],
        places,
    )


_PROJECT, _QUEUE = 'project=~"$project"', 'queue=~"$queue"'


def tenants(places: dict[str, int]) -> Json:
    """Waiting projects and queues, and the ends of jobs."""
    projects = [
        lines(
            "Open jobs by project",
            "Jobs and chunks that have not ended, of the 20 projects with most of them; `other` has the rest.",
            Query(gauge("emendo_open_jobs", "project", where=_PROJECT), "{{project}}"),
            stacked=True,
            empty="no open jobs",
        ),
        lines(
            "Age of the oldest open job by project",
            "A project whose age grows while others stay low waits for its own window, or for a provider.",
            Query(gauge("emendo_oldest_open_job_seconds", "project", where=_PROJECT), "{{project}}"),
            unit="s",
            empty="no open jobs",
            alerts=["EmendoJobsWaitTooLong"],
        ),
    ]
    queues = [
        lines(
            "Age of the oldest job by queue",
            "Callers wait for `interactive`. `bulk` has batches, `inference` conversations, `maintenance` "
            "re-embeddings and erasures.",
            Query(gauge("emendo_oldest_job_seconds", "queue", where=_QUEUE), "{{queue}}"),
            unit="s",
            alerts=["EmendoJobsWaitTooLong", "EmendoSlowWorkWaitsTooLong"],
        ),
        lines(
            "Jobs waiting for a place in their project's window",
            "Chunks and conversations beyond EMENDO_PROJECT_WINDOW_…: so one project does not delay the others.",
            Query(gauge("emendo_jobs_waiting"), "waiting"),
        ),
    ]
    ends = [
        lines(
            "Jobs that ended, per second, by kind and status",
            "A batch counts once, with its last chunk.",
            Query(
                f"sum by (kind, status) ({rated('emendo_jobs_ended_total', 'kind', 'status')})", "{{kind}} {{status}}"
            ),
            unit="none",
            width=8,
        ),
        lines(
            "Operations that ended in an error, per second, by code",
            "Refused requests too. docs/reference/errors.md explains the codes.",
            Query(f"sum by (code) ({rated('emendo_operation_errors_total', 'code')})", "{{code}}"),
            unit="none",
            width=8,
            empty="no errors",
            alerts=["EmendoChangesFail"],
        ),
        lines(
            "New dead letters per minute, by code",
            "Jobs and chunks that failed for good.",
            Query(f"60 * sum by (code) ({rated('emendo_jobs_dead_lettered_total', 'code')})", "{{code}}"),
            unit="none",
            width=8,
            empty="none",
            alerts=["EmendoDeadLettersGrow"],
        ),
    ]
    choices = [
        variable("project", "Project", 'label_values(emendo_open_jobs{job="$job"}, project)', multi=True),
        variable("queue", "Queue", 'label_values(emendo_oldest_job_seconds{job="$job"}, queue)', multi=True),
    ]
    return dashboard(
        "emendo-tenants",
        "Emendo: tenants and queues",
        "Which project and which queue waits, and how jobs end.",
        [("Projects", projects), ("Queues", queues), ("How jobs end", ends)],
        places,
        variables=choices,
    )
