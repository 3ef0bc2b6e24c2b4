"""Scripts about jobs: accepting, attempting and ending them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_config.store import format_versions
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.declaration import (
    Key,
    KeyList,
    Number,
    OptionalKey,
    OptionalNumber,
    Rows,
    Values,
    script,
)


class Accepted(NamedTuple):
    """The result of `accept`.

    Attributes:
        outcome: accepted; duplicate or conflict, for another request under the same idempotency key; held, while a
            re-embedding is under way; refused, beyond the project's quota. Full: a Redis has reached its watermark.
            Expired: what the job adds would have expired already.
        job_id: the accepted job's, else that of the job in the way. Refused: the number of open jobs.
        must_notify: the caller must publish a drain.
    """

    outcome: str
    job_id: str
    must_notify: bool

    @classmethod
    def read(cls, raw: Sequence[Any]) -> Accepted:
        """From the reply of Redis."""
        outcome, job_id, must_notify = raw
        return cls(as_text(outcome), as_text(job_id), bool(must_notify))


@script(reply=Accepted.read, shared=("allowed", "next_times", "project_windows"))
def accept(
    *,
    job: Key,
    inbox: Key,
    wakeup: Key,
    jobs: Key,
    clock: Key,
    shards: Key,
    idempotency: OptionalKey = None,
    migration: OptionalKey = None,
    job_id: str,
    shard: str,
    woken_by: str,
    wakeup_ttl_ms: int,
    fingerprint: str,
    idempotency_ttl: int,
    full: str = "",
    project: str = "",
    lane: str = "",
    open_jobs: str = "",
    max_open: Number = 0,
    open_ttl: int = 0,
    expires_at: Number = 0,
    record: Values,
    windows: Values = (),
) -> None:
    """Accepts one job.

    Args:
        job, inbox, wakeup, jobs, clock, shards: the job's record; its shard's keys; its project's jobs; the clock; the
            set of shards.
        idempotency: the record of the caller's idempotency key.
        migration: the store's re-embedding, for a job that begins one.
        job_id, shard: the job's.
        woken_by, wakeup_ttl_ms: the wake-up key's value and how long it stands, see `formats.woken_by`.
        fingerprint: of the request.
        idempotency_ttl: in seconds.
        full: the key that says that a Redis has reached its watermark. Empty: the job is accepted nevertheless.
        project, lane: the job's; an empty lane has no window.
        open_jobs: the key of the project's open jobs; empty if the job does not count.
        max_open: most open jobs and chunks of the project; 0: no limit.
        open_ttl: seconds that `open_jobs` is kept after the last change.
        expires_at: when the memories that it adds expire, in microseconds since 1970; 0: never.
        record: field, value, … of the record.
        windows: see `project_limits.windows`; needed for a lane and for a limit.
    """


class Chunk(NamedTuple):
    """One chunk of a batch job: its keys, and what it consists of."""

    chunk: Key
    inbox: Key
    wakeup: Key
    chunk_id: str
    shard: str
    woken_by: str
    lane: str
    items: int
    payload: str


_KEYS_OF_CHUNK = 3


class Appended(NamedTuple):
    """The result of `append`.

    Attributes:
        outcome: accepted; ended, for a job that was given up. Another request under the same idempotency key makes it
            duplicate, resume (its caller broke off) or conflict. Refused, beyond the project's quota. Full: a Redis
            has reached its watermark.
        job_id: this job's, else the first one's under the key. Refused: the number of open jobs and chunks.
        shards: those for which the caller must publish a drain.
    """

    outcome: str
    job_id: str
    shards: list[str]

    @classmethod
    def read(cls, raw: Sequence[Any]) -> Appended:
        """From the reply of Redis."""
        outcome, job_id, *shards = map(as_text, raw)
        return cls(outcome, job_id, shards)


@script(
    reply=Appended.read,
    constants={"KEYS_OF_CHUNK": _KEYS_OF_CHUNK, "SEALED_TTL": 600},
    shared=("allowed", "next_times", "project_windows"),
)
def append(
    *,
    job: Key,
    jobs: Key,
    clock: Key,
    shards: Key,
    accepting: Key,
    weak_sealed: Key,
    idempotency: OptionalKey,
    open_jobs: OptionalKey,
    job_id: str,
    project: str,
    max_open: Number,
    open_ttl: int,
    is_first: bool,
    seal: str,
    fingerprint: str,
    idempotency_ttl: int,
    wakeup_ttl_ms: int,
    full: str,
    job_fields: Values,
    chunk_fields: Values,
    windows: Values,
    chunks: Rows[Chunk],
) -> None:
    """Accepts some chunks of one batch job.

    Args:
        job, jobs, clock, shards: as for `accept`.
        accepting: the set of batch jobs whose caller still sends items.
        weak_sealed: marks a weak job whose last call was made.
        idempotency, open_jobs: as for `accept`.
        job_id, project: the job's.
        max_open, open_ttl, windows: as for `accept`.
        is_first: True for the first call of the job.
        seal: complete or abandoned in the last call. It is none for a job that ends by its own word, else empty.
        fingerprint, idempotency_ttl, wakeup_ttl_ms, full: as for `accept`.
        job_fields, chunk_fields: field, value, … of the job's record, and of each chunk's.
        chunks: at least one.
    """


@script(
    reply=as_text,
    constants={"RECORD_FORMAT": format_versions.RECORD},
    shared=("allowed", "delayed_member", "fields_of", "project_windows"),
    at_limit=True,
)
def cancel(
    *, job: Key, delayed: Key, cancelling: Key, channel: str, job_id: str, project: str, ttl: int, windows: Values = ()
) -> None:
    """The job's status after the call; unknown when the project has no such job; NEWER for a newer release's record.

    Args:
        job, delayed, cancelling: the job's record; the set of delayed jobs; that of jobs to be cancelled.
        channel: the job's, see `Keys.job_channel`.
        job_id, project: the job's.
        ttl: seconds a final record is kept.
        windows: see `project_limits.windows`.
    """


def _numbers(raw: Sequence[Any]) -> list[int]:
    return [int(each) for each in raw]


class Attempt(NamedTuple):
    """The keys of a record to be worked, and of its job's record (the same, unless it is a chunk)."""

    record: Key
    job: Key


# The words of `start.lua` for a record whose attempt it did not begin. There is none, its key holds another type, a
# newer release wrote it, or the batch is full before it.
GONE, OTHER_TYPE, NEWER, LATER = "gone", "type", "newer", "later"


class Started(NamedTuple):
    """The fields of a record whose attempt has begun, as they are stored.

    Attributes:
        cancel: of the job's record, when this is a chunk's.
        started: the time of the first attempt, if there was one before this.
        memory_id: of the job's one operation; empty for several, and for a chunk.
        damage: names of fields that no job has this way, joined by commas.
        traceparent, tracestate: the job's trace, if the caller asked for it.
    """

    kind: bytes
    project: bytes
    payload: bytes
    attempts: int
    submitted: bytes
    settled: bytes | None
    strong: bytes | None
    cancel: bytes | None
    started: bytes | None = None
    memory_id: bytes | None = None
    damage: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None

    @classmethod
    def read(cls, raw: Sequence[Any]) -> list[Started | str | None]:
        """From the reply of Redis: each record's fields, one of the words, or None for one that is final."""
        return [cls(*each) if isinstance(each, list) else None if each is None else as_text(each) for each in raw]


_STORED = Started._fields[: Started._fields.index("damage")]


@script(
    reply=Started.read,
    constants={
        "started_fields": _STORED,
        "PAYLOAD": 1 + _STORED.index("payload"),
        "ATTEMPTS": 1 + _STORED.index("attempts"),
        "CANCEL": 1 + _STORED.index("cancel"),
        "PROJECT": 1 + _STORED.index("project"),
        "RECORD_FORMAT": format_versions.RECORD,
    },
    shared=("allowed", "fields_of", "account"),
    at_limit=True,
)
def start(
    *, token: str, worker: str, budget: OptionalNumber = None, traced: bool = False, records: Rows[Attempt]
) -> None:
    """Begins an attempt at each record, unless it is gone, final, or beyond the budget.

    Args:
        token: the attempt's.
        worker: the worker's.
        budget: bytes of payload after which no further attempt begins; None for any number.
        traced: True for the fields of the records' traces, too.
        records: of jobs and chunks.
    """


@script(reply=bool, at_limit=True)
def displace(*, record: Key, damaged: Key, attempt: str, ttl: int) -> None:
    """True when a record has taken the place of a value that was none.

    Args:
        record: a job's or chunk's key.
        damaged: where the value goes.
        attempt: the token of the attempt that found it.
        ttl: seconds for which the value is kept.
    """


@script(reply=_numbers, shared=("allowed", "fields_of"), at_limit=True)
def deaths(*, workers: Key, worker: str, silence_ms: Number, living: Values, records: KeyList) -> None:
    """How many workers died over each record.

    Args:
        workers: the workers' signs of life.
        worker: the caller.
        silence_ms: milliseconds without a sign after which a worker may be dead.
        living: tokens of attempts that this process makes now, or gave up by itself.
        records: of jobs and chunks whose entries were left.
    """


@script(reply=bool, at_limit=True, shared=("next_times",))
def raise_clock(*, clock: Key, newest: Number) -> None:
    """True when the clock was behind.

    Args:
        clock: of the submissions.
        newest: a submission time (microseconds) that it must not be behind.
    """


@script(reply=int, shared=("next_times",), at_limit=True)
def next_times(*, clock: Key, count: int) -> None:
    """The first of so many submission times (microseconds); the others follow, one microsecond apart."""


@script(reply=bool, shared=("allowed", "fields_of", "account"), at_limit=True)
def store_plan(
    *,
    record: Key,
    job: Key,
    counters: Key,
    token: str,
    payload: str,
    operations: Number,
    usage: str,
    prompts: str,
    degraded: str,
    counts: str,
) -> None:
    """True when the record has the payload; False when the attempt is not the latest.

    Args:
        record, job: as in `Attempt`.
        counters: the hash of usage counters.
        token: the attempt's.
        payload, operations: the new payload, and how many operations it has.
        usage, prompts, counts: JSON objects. They are counts since the last call, prompt versions by stage, and
            counters to raise.
        degraded: why nothing was inferred; empty when something was.
    """


class FeedEntry(NamedTuple):
    """An entry of the feed: one change of a memory."""

    memory_id: str
    event: str
    version: str


class Ending(NamedTuple):
    """The end of an attempt: its record, its job's record, its project's conflicts, and two JSON documents.

    Attributes:
        outcome: see `Outcome.documents`.
        results: stored as they are.
    """

    record: Key
    job: Key
    conflicts: Key
    outcome: str
    results: str


class Finished(NamedTuple):
    """The result of `finish`.

    Attributes:
        recorded: how many jobs and chunks ended or were put aside.
        ended: the status of each batch job that ended with its last chunk, by its id.
        unrecorded: the places of endings that changed nothing: the attempt is stale, or the record final.
    """

    recorded: int
    ended: dict[str, str]
    unrecorded: frozenset[int] = frozenset()

    @classmethod
    def read(cls, raw: Sequence[Any]) -> Finished:
        """From the reply of Redis."""
        recorded, _, unrecorded, *words = raw
        texts = [as_text(word) for word in words]
        places = frozenset(int(place) - 1 for place in unrecorded)
        return cls(int(recorded), dict(zip(texts[::2], texts[1::2], strict=True)), places)


@script(
    reply=Finished.read,
    constants={name.upper(): place for place, name in enumerate(FeedEntry._fields, 1)},
    shared=("allowed", "delayed_member", "fields_of", "account", "lock_queue", "project_windows"),
    at_limit=True,
)
def finish(
    *,
    inbox: Key,
    feed: Key,
    delayed: Key,
    dead_projects: Key,
    cancelling: Key,
    ttl: int,
    feed_length: int,
    channel_prefix: str,
    dead_prefix: str,
    dead_of_prefix: str,
    lock_queue_prefix: str = "",
    windows: Values = (),
    endings: Rows[Ending],
) -> None:
    """Records the outcomes of attempts and acknowledges their entries.

    Args:
        inbox: the stream that has the entries.
        feed, delayed, cancelling: the feed; the sets of delayed jobs, and of jobs to be cancelled.
        dead_projects: the set of projects that have dead letters.
        ttl: seconds a final record is kept.
        feed_length: changes the feed keeps.
        channel_prefix, lock_queue_prefix: see `Keys.job_channels` and `Keys.lock_queue`.
        dead_prefix, dead_of_prefix: `Keys.dead` and `Keys.dead_of` of nothing.
        windows: see `project_limits.windows`.
        endings: at least one.
    """


def admitted_shards(raw: Sequence[Any]) -> list[str]:
    """The shards that a reply of `finish` asks to notify: records that waited were admitted to them."""
    return [as_text(shard) for shard in raw[1]]


@script(reply=lambda raw: [as_text(shard) for shard in raw], shared=("allowed", "project_windows"), at_limit=True)
def admit(*, lane: str, project: str, windows: Values) -> None:
    """The shards for which the caller must publish a drain.

    Args:
        lane, project: of the window.
        windows: see `project_limits.windows`.
    """
