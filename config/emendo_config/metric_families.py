"""Every metric of Emendo: its name, type, labels and meaning; and how workers store the counts of theirs in Redis.

Workers add to one Redis hash (`Keys.metrics`), and the gateway shows it. So the counts are right however many processes
and threads there are. A field is the family's name and its label values, joined by `|`. A histogram has a field for
each bucket that was ever hit, counted by itself (`…|<place of the bucket>`), and one for its sum (`…|sum`).

All values are integers. Sums of seconds are in microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from emendo_config.error_codes import ErrorCode

# The value of a label that is none of its known ones: a label's values are bounded.
OTHER = "other"
_SEPARATOR, _SUM = "|", "sum"
_MICROSECONDS = 1_000_000


class Type(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One metric family.

    Attributes:
        name: as Prometheus has it, without the `_bucket`, `_sum` and `_count` of a histogram's series.
        meaning: one sentence or two, for the page and for Prometheus' HELP.
        labels: names, in the order of their values.
        bounds: upper bounds of a histogram's buckets, the last one (+Inf) left out.
        scale: the integer that stands for 1 in the stored sum.
    """

    name: str
    type: Type
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    scale: int = 1


# Prometheus' usual bounds, closer together around 0.1 s, the mission's target for an update: the share of updates below
# it is then counted, not interpolated. The last ones tell a job that waited for a provider from one that is stuck.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# From a lone text or job to a full request or batch; the settings allow no much larger ones.
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)

# The kinds of jobs, as their records say.
KINDS = frozenset(
    {
        *("add", "update", "delete", "restore", "resolve", "batch", "batch_add", "batch_update", "batch_delete"),
        *("delete_all", "purge", "erase_user", "reembed", "reembed_finalize", "reembed_rollback"),
    }
)
# Results of an operation that are no event of a memory's history.
UNCHANGED, REFUSED, FAILED, CANCELLED = "UNCHANGED", "REFUSED", "FAILED", "CANCELLED"
# The stages of a job: it waits for an inbox, another attempt, the memories' locks, the models, the commit.
QUEUE, RETRY, LOCK, PROVIDER, COMMIT = STAGES = ("queue", "retry", "lock", "provider", "commit")
# Reasons for another attempt that are no error.
LOCKED, HANDED_OVER = "LOCKED", "HANDED_OVER"

JOBS_ENDED = Family(
    "emendo_jobs_ended_total",
    Type.COUNTER,
    "Jobs that workers ended. A batch counts once, with its last chunk.",
    ("kind", "status"),
)
OPERATIONS = Family(
    "emendo_operations_total",
    Type.COUNTER,
    "Operations that ended, by kind of job: the event of the change, UNCHANGED, REFUSED (the request's own fault), "
    "FAILED (a replay may succeed) or CANCELLED.",
    ("kind", "result"),
)
OPERATION_ERRORS = Family(
    "emendo_operation_errors_total", Type.COUNTER, "Operations that ended in an error, by its code.", ("code",)
)
COMMIT_SECONDS = Family(
    "emendo_commit_latency_seconds",
    Type.HISTOGRAM,
    "Time from acceptance until the result was recorded, of each operation without an error.",
    ("kind",),
    SECONDS,
    _MICROSECONDS,
)
STAGE_SECONDS = Family(
    "emendo_stage_seconds",
    Type.HISTOGRAM,
    "The same time by stage. `queue` ends with the first attempt. `retry` lasts from there to the last one. `lock` is "
    "locking and reading. `provider` is vectors and the chat model, from caches too. `commit` ends with the record.",
    ("kind", "stage"),
    SECONDS,
    _MICROSECONDS,
)
RETRIES = Family(
    "emendo_retries_total",
    Type.COUNTER,
    "Attempts that another one follows: by error code, LOCKED (another worker has the memory) or HANDED_OVER (to a "
    "worker that may ask the chat model).",
    ("reason",),
)
REDELIVERIES = Family(
    "emendo_redeliveries_total",
    Type.COUNTER,
    "Attempts at jobs that an earlier reader left: it died, stalled, or its answer was lost.",
)
CONFLICTS = Family(
    "emendo_conflicts_total",
    Type.COUNTER,
    "Conflicts that began to wait for a person (`waiting`) or were decided (`resolved`), and commits that were decided "
    "again because the memory had changed (`repeated`).",
    ("event",),
)
DEAD_LETTERED = Family(
    "emendo_jobs_dead_lettered_total",
    Type.COUNTER,
    "Jobs and chunks that became dead letters, by the error's code.",
    ("code",),
)
BATCH_JOBS = Family(
    "emendo_drain_batch_jobs", Type.HISTOGRAM, "Jobs and chunks that a drain worked together.", (), SIZES
)
CACHE_LOOKUPS = Family(
    "emendo_embedding_cache_lookups_total",
    Type.COUNTER,
    "Texts that needed a vector: found in the `process`, in `redis`, asked for already (`in_flight`), or a `miss`.",
    ("result",),
)
PROVIDER_REQUESTS = Family(
    "emendo_provider_requests_total",
    Type.COUNTER,
    "Requests of workers to the embedding provider and the chat model, answered or not.",
    ("kind",),
)
PROVIDER_SECONDS = Family(
    "emendo_provider_request_seconds",
    Type.HISTOGRAM,
    "Time of each request, answered or not.",
    ("kind",),
    SECONDS,
    _MICROSECONDS,
)
PROVIDER_ERRORS = Family(
    "emendo_provider_errors_total", Type.COUNTER, "Requests that failed, by the error's code.", ("kind", "code")
)
PROVIDER_TOKENS = Family(
    "emendo_provider_tokens_total",
    Type.COUNTER,
    "Tokens as the providers counted them: `embedding`, or `prompt` and `completion` of the chat model.",
    ("kind",),
)
REQUEST_TEXTS = Family(
    "emendo_embedding_request_texts", Type.HISTOGRAM, "Texts of each request to the embedding provider.", (), SIZES
)

# Those that workers count, by name.
COUNTED: dict[str, Family] = {
    family.name: family
    for family in (
        *(JOBS_ENDED, OPERATIONS, OPERATION_ERRORS, COMMIT_SECONDS, STAGE_SECONDS, RETRIES, REDELIVERIES, CONFLICTS),
        *(DEAD_LETTERED, BATCH_JOBS, CACHE_LOOKUPS, PROVIDER_REQUESTS, PROVIDER_SECONDS, PROVIDER_ERRORS),
        *(PROVIDER_TOKENS, REQUEST_TEXTS),
    )
}


def known_kind(kind: str) -> str:
    """The kind of a job as a label's value: a record may hold any text."""
    return kind if kind in KINDS else OTHER


def known_code(code: str) -> str:
    """An error's code as a label's value."""
    return code if code in ErrorCode.__members__ else OTHER


@lru_cache(maxsize=4_096)
def field_of(family: Family, *labels: str) -> str:
    """The field that counts these label values; of a histogram, the beginning of its fields."""
    return _SEPARATOR.join((family.name, *labels))


@lru_cache(maxsize=8_192)
def _bucket(family: Family, labels: tuple[str, ...], place: int) -> str:
    return f"{field_of(family, *labels)}{_SEPARATOR}{place}"


@lru_cache(maxsize=4_096)
def _sum(family: Family, labels: tuple[str, ...]) -> str:
    return f"{field_of(family, *labels)}{_SEPARATOR}{_SUM}"


def count(counts: dict[str, int], family: Family, *labels: str, by: int = 1) -> None:
    """Adds to a counter's field."""
    name = field_of(family, *labels)
    counts[name] = counts.get(name, 0) + by


def observe(counts: dict[str, int], family: Family, values: Iterable[tuple[float, int]], *labels: str) -> None:
    """Adds observations to a histogram's fields.

    Args:
        counts: by field.
        family: a histogram.
        values: in the family's unit, each with how often it was seen. Below 0 one counts as 0, which clocks that
            differ may bring about.
        labels: theirs.
    """
    places: dict[int, int] = {}
    total = 0.0
    for value, times in values:
        if times:
            place = bisect_left(family.bounds, value)
            places[place] = places.get(place, 0) + times
            total += max(0.0, value) * times
    for place, times in places.items():
        name = _bucket(family, labels, place)
        counts[name] = counts.get(name, 0) + times
    if places:
        name = _sum(family, labels)
        counts[name] = counts.get(name, 0) + round(total * family.scale)


@dataclass(frozen=True, slots=True)
class Observed:
    """The stored values of one histogram and its label values.

    Attributes:
        buckets: pairs of an upper bound, as Prometheus writes it, and how many values are not above it.
        sum: of all values, in the family's unit.
    """

    buckets: list[tuple[str, float]]
    sum: float


def counters_of(family: Family, stored: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    """The stored counts of a counter by its label values."""
    return dict(_parts(family, stored, len(family.labels)))


def histograms_of(family: Family, stored: Mapping[str, int]) -> dict[tuple[str, ...], Observed]:
    """The stored counts of a histogram by its label values; buckets that this release does not know are left out."""
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for labels, value in _parts(family, stored, len(family.labels) + 1):
        found.setdefault(labels[:-1], {})[labels[-1]] = value
    return {labels: _observed(family, counts) for labels, counts in found.items()}


def _observed(family: Family, counts: Mapping[str, int]) -> Observed:
    total, buckets = 0, []
    for place, bound in enumerate((*map(str, family.bounds), "+Inf")):
        total += counts.get(str(place), 0)
        buckets.append((bound, float(total)))
    return Observed(buckets, counts.get(_SUM, 0) / family.scale)


def _parts(family: Family, stored: Mapping[str, int], parts: int) -> list[tuple[tuple[str, ...], int]]:
    """The label values of the family's fields; fields of another form are a newer release's."""
    found = []
    for name, value in stored.items():
        first, *labels = name.split(_SEPARATOR)
        if first == family.name and len(labels) == parts:
            found.append((tuple(labels), value))
    return found
