"""The workers' counts, and sizes that only Redis knows: the gateway's /metrics shows them beside the health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from emendo_client.exchanges.exchange import Exchange, RoundTrip, run_async
from emendo_client.exchanges.reembedding.models import Migration
from emendo_client.exchanges.reembedding.status import migration
from emendo_config import Keys, Settings
from emendo_config.metric_families import OTHER
from emendo_config.spaces.registry import registered_spaces
from emendo_config.store.clock import seconds_of
from emendo_config.store.formats import CACHE_PERIODS
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import AsyncSender

# Projects that a label names: those with most open jobs. The others are one, so a scrape stays small.
NAMED_PROJECTS = 20
# Projects whose jobs are counted. Beyond it none are, because two commands for each would keep Redis from its work.
MOST_PROJECTS = 2_000
_LIMITS = ("requests", "tokens")


class OpenJobs(NamedTuple):
    """The jobs and chunks of a project that have not ended, and the age of the oldest one in seconds."""

    number: int
    age: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How far one rate limit of a provider is spent.

    Attributes:
        wait: seconds until a call may go.
        stated: the limit per minute that the provider stated; 0 for none.
    """

    wait: float
    stated: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """One reading, for all projects together.

    Attributes:
        counts: the workers', by field; see `emendo_config.metric_families`.
        memories: in the index, deleted ones too.
        cache_bytes: vectors that may still be cached, by embedding space.
        paces: by provider and limit.
        projects: by project; None where there are too many.
        reembedding: the latest one.
    """

    counts: Mapping[str, int]
    memories: int
    cache_bytes: Mapping[str, int]
    paces: Mapping[tuple[str, str], Pace]
    projects: Mapping[str, OpenJobs] | None
    reembedding: Migration | None


async def measure_async(senders: Mapping[str, AsyncSender], keys: Keys, settings: Settings) -> Measurements:
    """A reading, from both Redis planes.

    Raises:
        NetworkError: Redis could not be reached in time.
        VectorStoreError: Redis refused a command, or a stored document is damaged.
    """
    return await run_async(senders, _measure(keys, settings))


def _measure(keys: Keys, settings: Settings) -> Exchange[Measurements]:
    information, registry, data_time = yield RoundTrip(
        "data", [("FT.INFO", keys.index_alias), ("HGETALL", keys.spaces), ("TIME",)]
    )
    spaces = {space.embedded_as: space.space.provider for space in registered_spaces(registry, settings)}
    providers = sorted({provider for provider in spaces.values() if provider != "local"})
    names = [f"limit_{limit}" for limit in _LIMITS]
    counts, clock, projects, *states = yield RoundTrip(
        "control",
        [
            ("HGETALL", keys.metrics),
            ("TIME",),
            ("SCARD", keys.projects),
            *(("HMGET", keys.rate_limit(provider), "paused", *_LIMITS, *names) for provider in providers),
        ],
    )
    now = seconds_of(clock)
    open_jobs = (yield from _open_jobs(keys, now)) if int(projects) <= MOST_PROJECTS else None
    return Measurements(
        counts={as_text(name): int(value) for name, value in counts.items() if _is_count(value)},
        memories=_number_of_documents(information),
        cache_bytes=(yield from _cache_bytes(keys, settings, list(spaces), seconds_of(data_time))),
        paces={
            (provider, limit): _pace(state, place, now)
            for provider, state in zip(providers, states, strict=True)
            for place, limit in enumerate(_LIMITS)
        },
        projects=open_jobs,
        reembedding=(yield from migration(keys, settings.reembed_grace)),
    )


def _open_jobs(keys: Keys, now: float) -> Exchange[dict[str, OpenJobs]]:
    """The open jobs of the projects that have most, and of all others together."""
    (members,) = yield RoundTrip("control", [("SMEMBERS", keys.projects)])
    projects = sorted(map(as_text, members))
    if not projects:
        return {}
    replies = yield RoundTrip(
        "control",
        [
            command
            for project in projects
            for command in (
                ("ZCARD", keys.open_jobs(project)),
                ("ZRANGE", keys.open_jobs(project), 0, 0, "WITHSCORES"),
            )
        ],
    )
    found = [
        (project, OpenJobs(int(number), max(0.0, now - float(oldest[1]) / 1_000_000)))
        for project, number, oldest in zip(projects, replies[::2], replies[1::2], strict=True)
        if number and oldest
    ]
    found.sort(key=lambda each: -each[1].number)
    shown: dict[str, OpenJobs] = {}
    for place, (project, jobs) in enumerate(found):
        name = project if place < NAMED_PROJECTS else OTHER
        known = shown.get(name, OpenJobs(0, 0.0))
        shown[name] = OpenJobs(known.number + jobs.number, max(known.age, jobs.age))
    return shown


def _cache_bytes(keys: Keys, settings: Settings, spaces: Sequence[str], now: float) -> Exchange[dict[str, int]]:
    """Bytes of cached vectors by space, over the periods that may still be there."""
    length = max(1, settings.embedding_cache_ttl // CACHE_PERIODS)
    period = int(now) // length
    periods = [period - back for back in range(CACHE_PERIODS + 1)]
    replies = yield RoundTrip(
        "data", [("GET", keys.embedding_bytes(space, each)) for space in spaces for each in periods]
    )
    sizes = [int(reply or 0) for reply in replies]
    width = len(periods)
    return {space: sum(sizes[place * width : (place + 1) * width]) for place, space in enumerate(spaces)}


def _pace(state: Sequence[Any], place: int, now: float) -> Pace:
    paused, *values = (_number(value) for value in state)
    until = max(paused, values[place])
    return Pace(max(0.0, until / 1_000 - now), values[len(_LIMITS) + place])


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except ValueError:  # damaged
        return 0.0


def _is_count(value: bytes) -> bool:
    return value.isdigit()


def _number_of_documents(information: Any) -> int:
    names = [as_text(name) for name in information[::2]]
    return int(float(as_text(information[1::2][names.index("num_docs")])))
