"""Health and backlog: for `client.health()`, `emendo doctor`, and the gateway's /health and /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from emendo_client.errors import EmendoError
from emendo_client.exchanges.backlog import by_queue, inbox_commands, inboxes_of
from emendo_client.exchanges.exchange import Exchange, RoundTrip, run, run_async
from emendo_client.models import Usage
from emendo_client.providers.chat.base import PROVIDER
from emendo_client.records.jobs import stored_number
from emendo_config import Keys
from emendo_config.store import usage_counters
from emendo_config.store.clock import seconds_of
from emendo_config.store.memory_use import MemoryUse
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import AsyncSender, Sender

# Seconds after its last sign of life until a worker is no longer counted.
WORKER_SILENCE = 30.0
# All providers that workers may call through a circuit breaker. This process's own settings do not matter: a gateway
# or an operator's machine has no provider settings.
GUARDED = ("openai", PROVIDER)


class CircuitBreaker(BaseModel):
    """A provider's circuit breaker (`breaker.lua`); an open one lets a probe through after `seconds_left`."""

    model_config = ConfigDict(frozen=True)

    state: Literal["closed", "open", "half_open"]
    seconds_left: float = 0.0


class WorkerFault(BaseModel):
    """The fault for which a worker leaves jobs to others; the jobs wait and spend no attempts.

    Attributes:
        code, message: of the error, as in a job's record.
        suggestion: the remedy.
        queues: that it does not serve until the fault is removed; none if it only leaves jobs that it cannot read.
        since: seconds since 1970, by the worker's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str
    suggestion: str | None = None
    queues: list[str] = Field(default_factory=list)
    since: float = 0.0


class Memory(BaseModel):
    """The memory of one Redis in bytes; a limit of 0 means none."""

    model_config = ConfigDict(frozen=True)

    used: int = 0
    limit: int = 0


class InferenceUsage(Usage):
    """Counters of inference and its cost, for all projects together.

    Attributes:
        decisions: facts by decision: ADD, UPDATE, DELETE or NONE.
        fallbacks: facts for which the model's answer was not usable, by reason.
        degraded_jobs: jobs that were worked without a chat model.
    """

    decisions: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(usage_counters.DECISIONS, 0))
    fallbacks: dict[str, int] = Field(default_factory=dict)
    degraded_jobs: int = 0


class Health(BaseModel):
    """The state of a store and its backlog, for all projects together; without workers, accepted jobs wait.

    Attributes:
        queued, queued_by_shard: jobs that wait in an inbox or are worked now.
        waiting: chunks and conversations that wait for a place in their project's window.
        delayed: jobs that wait for another attempt.
        overdue_seconds: seconds since the first delayed job became due; more than a few mean that no worker sweeps.
        dead: jobs that failed for good and wait for a person.
        oldest_job_seconds: for each Celery queue, the age of the oldest job in its inboxes, 0 if they are empty.
            Minutes are normal for the chunks of a large batch, and too long for interactive work.
        memory: of the `data` and the `control` Redis; equal where one Redis serves both.
        full: a Redis has reached EMENDO_MEMORY_WATERMARK or its limit: only erasures are accepted.
        worker_faults: for each living worker that leaves jobs to others, why; by the worker's id.
        housekeeping_seconds: since housekeeping last ended; None if it never did. Minutes mean that beat does not run.
        clock_ahead_seconds: how far the newest submission time is ahead of Redis' clock, which was set back. Submission
            times only rise, so they stay ahead until the clock has caught up.
        problem: set when Redis cannot be used.
    """

    model_config = ConfigDict(frozen=True)

    redis: bool
    index: bool = False
    workers: int = 0
    queued: int = 0
    queued_by_shard: dict[str, int] = Field(default_factory=dict)
    waiting: int = 0
    delayed: int = 0
    overdue_seconds: float = 0.0
    dead: int = 0
    housekeeping_seconds: float | None = None
    clock_ahead_seconds: float = 0.0
    oldest_job_seconds: dict[str, float] = Field(default_factory=dict)
    circuit_breakers: dict[str, CircuitBreaker] = Field(default_factory=dict)
    inference: InferenceUsage = Field(default_factory=InferenceUsage)
    memory: dict[str, Memory] = Field(default_factory=lambda: dict.fromkeys(("data", "control"), Memory()))
    full: bool = False
    worker_faults: dict[str, WorkerFault] = Field(default_factory=dict)
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """True when jobs are accepted and carried out."""
        idle = sum(bool(fault.queues) for fault in self.worker_faults.values())
        return self.redis and self.index and self.workers > idle and not self.full


def check(senders: Mapping[str, Sender], keys: Keys) -> Health:
    """The health, from both Redis planes; a failure becomes `problem`."""
    try:
        return run(senders, _check(keys))
    except EmendoError as error:
        return unreachable(str(error))


async def check_async(senders: Mapping[str, AsyncSender], keys: Keys) -> Health:
    """The asyncio twin of `check`."""
    try:
        return await run_async(senders, _check(keys))
    except EmendoError as error:
        return unreachable(str(error))


def unreachable(problem: str) -> Health:
    """The health of a Redis that cannot be used."""
    return Health(redis=False, problem=problem)


def _check(keys: Keys) -> Exchange[Health]:
    """Three round trips: the job counts, the inboxes, the index."""
    clock, workers, faults, memory, full, delayed, first_due, *more = yield RoundTrip(
        "control",
        [
            ("TIME",),
            ("ZRANGE", keys.workers, 0, -1, "WITHSCORES"),
            ("HGETALL", keys.worker_faults),
            ("INFO", "memory"),
            ("EXISTS", keys.full),
            ("ZCARD", keys.delayed),
            ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES"),
            ("ZCARD", keys.unsorted_dead),
            ("SMEMBERS", keys.dead_projects),
            ("SMEMBERS", keys.shards),
            ("SMEMBERS", keys.waiting_lanes),
            ("HGETALL", keys.usage),
            ("HMGET", keys.housekeeping, "ended"),
            ("GET", keys.clock),
            *(("HMGET", keys.breaker(provider), "until") for provider in GUARDED),
        ],
    )
    now = seconds_of(clock)
    unsorted, projects, members, lanes, used, (kept_at,), newest, *breakers = more
    seen = zip(map(as_text, workers[::2]), workers[1::2], strict=True)
    alive = {worker for worker, last in seen if now - float(last) / 1_000 <= WORKER_SILENCE}
    shards = sorted(as_text(member) for member in members)
    commands = inbox_commands(keys, shards)
    counts = [("ZCARD", keys.dead(as_text(project))) for project in projects]
    counts += [("LLEN", f"{keys.waiting_prefix}{as_text(lane)}") for lane in lanes]
    replies = yield RoundTrip("control", [*commands, *counts])
    inboxes, counted = inboxes_of(shards, replies[: len(commands)], now), replies[len(commands) :]
    dead, waiting = counted[: len(projects)], counted[len(projects) :]
    indexes, data_memory = yield RoundTrip("data", [("FT._LIST",), ("INFO", "memory")])
    memories = {"data": MemoryUse.read(data_memory), "control": MemoryUse.read(memory)}
    return Health(
        redis=True,
        index=any(keys.is_index(as_text(name)) for name in indexes),
        workers=len(alive),
        queued=sum(inbox.depth for inbox in inboxes.values()),
        queued_by_shard={shard: inbox.depth for shard, inbox in inboxes.items()},
        waiting=sum(map(int, waiting)),
        delayed=int(delayed),
        overdue_seconds=max(0.0, now - float(first_due[1]) / 1_000) if first_due else 0.0,
        dead=int(unsorted) + sum(map(int, dead)),
        clock_ahead_seconds=max(0.0, stored_number(newest) / 1_000_000 - now),
        housekeeping_seconds=None if kept_at is None else max(0.0, now - stored_number(kept_at) / 1_000),
        oldest_job_seconds={queue: inbox.age for queue, inbox in by_queue(inboxes).items()},
        circuit_breakers={provider: _breaker(until, now) for provider, (until,) in zip(GUARDED, breakers, strict=True)},
        inference=_usage(used),
        memory={plane: Memory(used=use.used, limit=use.limit) for plane, use in memories.items()},
        full=bool(full) or any(use.share >= 1 for use in memories.values()),
        worker_faults={
            as_text(worker): WorkerFault.model_validate_json(fault)
            for worker, fault in faults.items()
            if as_text(worker) in alive
        },
    )


def _usage(hash_fields: Mapping[bytes, bytes]) -> InferenceUsage:
    """The counters of `emendo_config.store.usage_counters`; a missing one is 0."""
    counts = {as_text(name): stored_number(value) for name, value in hash_fields.items()}
    return InferenceUsage(
        chat_requests=counts.get(usage_counters.CHAT_REQUESTS, 0),
        prompt_tokens=counts.get(usage_counters.PROMPT_TOKENS, 0),
        completion_tokens=counts.get(usage_counters.COMPLETION_TOKENS, 0),
        embedding_requests=counts.get(usage_counters.EMBEDDING_REQUESTS, 0),
        embedding_tokens=counts.get(usage_counters.EMBEDDING_TOKENS, 0),
        decisions={event: counts.get(usage_counters.decision(event), 0) for event in usage_counters.DECISIONS},
        fallbacks={
            code: count for name, count in counts.items() if (code := usage_counters.fallback_code(name)) is not None
        },
        degraded_jobs=counts.get(usage_counters.DEGRADED_JOBS, 0),
    )


def _breaker(until: bytes | None, now: float) -> CircuitBreaker:
    """The state as `breaker.lua` reads it."""
    if until is None:
        return CircuitBreaker(state="closed")
    try:
        left = float(until) / 1_000 - now
    except ValueError:  # damaged
        return CircuitBreaker(state="closed")
    return CircuitBreaker(state="open", seconds_left=left) if left > 0 else CircuitBreaker(state="half_open")
