"""What answers and what waits: for `client.health()`, `emendo doctor`, and the gateway's /health and /metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from emendo_client.chat.base import PROVIDER
from emendo_client.errors import EmendoError
from emendo_client.models import Usage
from emendo_client.steps import AsyncPlane, Batch, Plane, Steps, run, run_async
from emendo_config import Keys, usage
from emendo_config.queues import QUEUES
from emendo_config.redis_io import as_text
from emendo_config.shards import queue_of

# A worker that has not been heard of for so long (seconds) is not counted.
WORKER_SILENCE = 30.0
# Providers that workers call through a circuit breaker, all that can be, whatever this process's own settings name:
# the gateway and those who look need no provider, and have none of its settings.
GUARDED = ("openai", PROVIDER)


class CircuitBreaker(BaseModel):
    """Whether a provider is called (`breaker.lua`); `seconds_left` until an open one lets a call probe."""

    model_config = ConfigDict(frozen=True)

    state: Literal["closed", "open", "half_open"]
    seconds_left: float = 0.0


class InferenceUsage(Usage):
    """What inference has done and what it cost so far, all projects together; counts that only grow.

    Attributes:
        decisions: facts by what became of them: ADD, UPDATE, DELETE or NONE.
        fallbacks: facts for which the model's answer could not be taken, by why.
        degraded_jobs: those that were worked without a chat model.
    """

    decisions: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(usage.DECISIONS, 0))
    fallbacks: dict[str, int] = Field(default_factory=dict)
    degraded_jobs: int = 0


class Health(BaseModel):
    """`problem` is set when Redis cannot be used; without workers jobs are accepted but wait.

    The counts are those of all projects together. `queued` jobs wait in an inbox or are being worked; `delayed`
    ones wait for another attempt, `dead` ones for a person. `oldest_job_seconds` says for each Celery queue how long
    the first job of any of its inboxes has been there, 0 when they are empty: minutes are normal for the chunks of a
    large batch, and bad for interactive work. `overdue_seconds` says how long ago the first delayed job was due: a few
    seconds, unless no worker sweeps.
    """

    model_config = ConfigDict(frozen=True)

    redis: bool
    index: bool = False
    workers: int = 0
    queued: int = 0
    queued_by_shard: dict[str, int] = Field(default_factory=dict)
    delayed: int = 0
    overdue_seconds: float = 0.0
    dead: int = 0
    oldest_job_seconds: dict[str, float] = Field(default_factory=dict)
    circuit_breakers: dict[str, CircuitBreaker] = Field(default_factory=dict)
    inference: InferenceUsage = Field(default_factory=InferenceUsage)
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """True when jobs are accepted and carried out."""
        return self.redis and self.index and self.workers > 0


def check(planes: Mapping[str, Plane], keys: Keys) -> Health:
    """Asks both planes; failures become `problem`."""
    try:
        return run(planes, _look(keys))
    except EmendoError as error:
        return unreachable(str(error))


async def check_async(planes: Mapping[str, AsyncPlane], keys: Keys) -> Health:
    """The asyncio twin of `check`."""
    try:
        return await run_async(planes, _look(keys))
    except EmendoError as error:
        return unreachable(str(error))


def unreachable(problem: str) -> Health:
    """The health of a Redis that cannot be used."""
    return Health(redis=False, problem=problem)


def _look(keys: Keys) -> Steps[Health]:
    """Three round trips: the job counts, the inboxes, the index."""
    silent_since = int((time.time() - WORKER_SILENCE) * 1000)
    clock, workers, delayed, first_due, dead, members, used, *breakers = yield Batch(
        "control",
        [
            ("TIME",),
            ("ZCOUNT", keys.workers, silent_since, "+inf"),
            ("ZCARD", keys.delayed),
            ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES"),
            ("ZCARD", keys.dead),
            ("SMEMBERS", keys.shards),
            ("HGETALL", keys.usage),
            *(("HMGET", keys.breaker(provider), "until") for provider in GUARDED),
        ],
    )
    now = int(clock[0]) + int(clock[1]) / 1_000_000
    shards = sorted(as_text(member) for member in members)
    inboxes = yield Batch(
        "control",
        [
            command
            for shard in shards
            for command in (("XLEN", keys.inbox(shard)), ("XRANGE", keys.inbox(shard), "-", "+", "COUNT", 1))
        ],
    )
    lengths, heads = inboxes[::2], inboxes[1::2]
    (indexes,) = yield Batch("data", [("FT._LIST",)])
    return Health(
        redis=True,
        index=any(as_text(name).startswith(keys.index("")) for name in indexes),
        workers=int(workers),
        queued=sum(lengths),
        queued_by_shard=dict(zip(shards, lengths, strict=True)),
        delayed=int(delayed),
        overdue_seconds=max(0.0, now - float(first_due[1]) / 1_000) if first_due else 0.0,
        dead=int(dead),
        oldest_job_seconds={
            queue: max(
                (_age(head, now) for shard, head in zip(shards, heads, strict=True) if queue_of(shard) == queue),
                default=0.0,
            )
            for queue in QUEUES
        },
        circuit_breakers={provider: _breaker(until, now) for provider, (until,) in zip(GUARDED, breakers, strict=True)},
        inference=_usage(used),
    )


def _usage(hash_fields: Mapping[bytes, bytes]) -> InferenceUsage:
    """The hash of `emendo_config.usage`; what was never counted is 0."""
    counts = {as_text(name): int(value) for name, value in hash_fields.items()}
    return InferenceUsage(
        chat_requests=counts.get(usage.CHAT_REQUESTS, 0),
        prompt_tokens=counts.get(usage.PROMPT_TOKENS, 0),
        completion_tokens=counts.get(usage.COMPLETION_TOKENS, 0),
        embedding_requests=counts.get(usage.EMBEDDING_REQUESTS, 0),
        embedding_tokens=counts.get(usage.EMBEDDING_TOKENS, 0),
        decisions={event: counts.get(usage.decision(event), 0) for event in usage.DECISIONS},
        fallbacks={code: count for name, count in counts.items() if (code := usage.fallback_code(name)) is not None},
        degraded_jobs=counts.get(usage.DEGRADED_JOBS, 0),
    )


def _age(head: Sequence[Any], now: float) -> float:
    """Seconds since the stream's first entry was written, which its id says."""
    if not head:
        return 0.0
    milliseconds = int(as_text(head[0][0]).partition("-")[0])
    return max(0.0, now - milliseconds / 1_000)


def _breaker(until: bytes | None, now: float) -> CircuitBreaker:
    """The state as `breaker.lua` would find it."""
    if until is None:
        return CircuitBreaker(state="closed")
    left = float(until) / 1_000 - now
    return CircuitBreaker(state="open", seconds_left=left) if left > 0 else CircuitBreaker(state="half_open")
