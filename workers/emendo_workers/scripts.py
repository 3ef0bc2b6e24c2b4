"""The worker's Lua scripts, each with its one typed builder; `lua/<name>.lua` says what it guarantees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import redis
from redis.exceptions import NoScriptError

from emendo_config.keys import Keys
from emendo_config.redis_io import lua_source, round_trip, script_digest
from emendo_workers.state import OPENED_FIELDS

Command = tuple[Any, ...]
_NAMES = (
    "advance",
    "backfill",
    "breaker",
    "claim",
    "close",
    "commit",
    "drop",
    "finish",
    "learn",
    "open",
    "pace",
    "plan",
    "release",
    "renew",
    "requeue",
    "ring",
    "scrub",
    "stamp",
    "start",
    "take",
)


def run(connection: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Sends the commands as one pipelined round trip and returns their replies in order.

    A script the server has forgotten (restart, SCRIPT FLUSH) is loaded and the round trip repeated,
    which is safe because every script may run twice.
    """
    if not commands:
        return []
    try:
        return round_trip(connection, commands)
    except NoScriptError:
        for name in _NAMES:
            connection.script_load(_source(name))
        return round_trip(connection, commands)


def breaker(key: str, word: str, *, failures: int, pause_ms: int, longest_ms: int, probe_ms: int) -> Command:
    """→ 0: call; -1: call and report a success, too; else how long to wait (ms)."""
    return _call("breaker", (key,), (word, failures, pause_ms, longest_ms, probe_ms))


def pace(
    key: str,
    mark: str,
    breaker_key: str,
    *,
    limits: tuple[int, int],
    tokens: int,
    longest_ms: int,
    burst_ms: int,
    mark_ttl_ms: int,
    idle_ttl_ms: int,
    share: float,
) -> Command:
    """→ [wait (ms), 1 when reserved, requests, tokens a minute the provider told of].

    Args:
        key, mark, breaker_key: key names.
        limits: requests and tokens a minute by the settings, 0 for none.
        tokens: to reserve, besides the one request.
        longest_ms: a longer wait reserves nothing.
        burst_ms: how much of what was not used is kept, as time at the limit.
        mark_ttl_ms, idle_ttl_ms: how long the mark, and a pace nobody uses, are kept.
        share: of the limits, which the caller's class may use; 1 for all of them.
    """
    values = (*limits, tokens, longest_ms, burst_ms, mark_ttl_ms, idle_ttl_ms, share)
    return _call("pace", (key, mark, breaker_key), values)


def learn(
    key: str,
    mark: str,
    *,
    limits: tuple[int, int],
    overrun_ms: float,
    remaining_ms: tuple[float | None, float | None],
    pause_ms: int,
    unit_ms: tuple[float, float],
    mark_ttl_ms: int,
    idle_ttl_ms: int,
    share: float,
) -> Command:
    """→ 1, or 0 when this answer has been learnt from before.

    Args:
        key, mark: key names.
        limits: requests and tokens a minute the provider tells of, 0 for none.
        overrun_ms: tokens used beyond the reserved ones, as time at the limit.
        remaining_ms: requests and tokens that remain, as time at the limit; None: not known.
        pause_ms: how long all workers are to pause.
        unit_ms: one request and one token, as time at the limit; 0 without a limit.
        mark_ttl_ms, idle_ttl_ms: how long the mark, and a pace nobody uses, are kept.
        share: of the limits, which the caller's class may use; 1 for all of them.
    """
    remaining = ["" if value is None else value for value in remaining_ms]
    values = (*limits, overrun_ms, *remaining, pause_ms, *unit_ms, mark_ttl_ms, idle_ttl_ms, share)
    return _call("learn", (key, mark), values)


def claim(bell: str, owner: str, lease_ms: int) -> Command:
    """→ 1 when the shard is ours."""
    return _call("claim", (bell,), (owner, lease_ms))


def close(bell: str, inbox: str, owner: str, *, over_budget: bool, ring_id: str, ring_ttl_ms: int) -> Command:
    """→ b"silent", b"more", b"ring" or b"lost"."""
    return _call("close", (bell, inbox), (owner, int(over_budget), ring_id, ring_ttl_ms))


def scrub(record: str, payload: str, kept: str) -> Command:
    """→ 1 when the payload was replaced."""
    return _call("scrub", (record,), (payload, kept))


def take(lease: str, token: str, ttl_ms: int) -> Command:
    """→ 1 when the lease is ours."""
    return _call("take", (lease,), (token, ttl_ms))


def renew(lease: str, token: str, ttl_ms: int) -> Command:
    """→ 1 while the lease is ours."""
    return _call("renew", (lease,), (token, ttl_ms))


def release(lease: str, token: str) -> Command:
    """→ 1 when the lease was ours."""
    return _call("release", (lease,), (token,))


def ring(bell: str, inbox: str, ring_id: str, ring_ttl_ms: int) -> Command:
    """→ 1 when the caller must publish a drain."""
    return _call("ring", (bell, inbox), (ring_id, ring_ttl_ms))


def requeue(
    delayed: str, inbox: str, bell: str, shards: str, *, job_id: str, shard: str, ring_id: str, ring_ttl_ms: int
) -> Command:
    """→ 1 when the caller must publish a drain."""
    member = f"{shard}:{job_id}"
    return _call("requeue", (delayed, inbox, bell, shards), (member, job_id, shard, ring_id, ring_ttl_ms))


def start(records: Sequence[tuple[str, str]], token: str, worker: str) -> Command:
    """→ for each (record, its job's record) START_FIELDS and a cancelled mark; None when it is not to be worked."""
    return _call("start", [name for pair in records for name in pair], (token, worker))


def stamp(clock: str, count: int) -> Command:
    """→ the first of so many submission times, microseconds as bytes."""
    return _call("stamp", (clock,), (count,))


def plan(
    record: str,
    job: str,
    counters: str,
    *,
    attempt: str,
    payload: str,
    operations: int,
    usage: str,
    prompts: str,
    degraded: str,
    counts: str,
) -> Command:
    """→ 1 when the record has the payload, 0 when the attempt is not the latest.

    Args:
        record, job, counters: key names; the record's and its job's are the same unless it is a chunk.
        attempt: its token.
        payload, operations: what replaces the record's, and how many operations it has.
        usage, prompts, counts: JSON objects: what was spent, versions by stage, counters to raise.
        degraded: why nothing was inferred; empty when something was.
    """
    return _call("plan", (record, job, counters), (attempt, payload, operations, usage, prompts, degraded, counts))


def finish(
    inbox: str,
    keys: Keys,
    records: Sequence[tuple[str, str, str]],
    *,
    ttl: int,
    feed_length: int,
    outcomes: Sequence[str],
) -> Command:
    """→ [how many jobs and chunks ended or were put aside, then id and state of each batch job that ended].

    Args:
        records: for each outcome its record, its job's record (the same unless it is a chunk), and the sorted set of
            its project's conflicts.
        outcomes: JSON documents in the records' order, two for each, see `Outcome.documents`.
    """
    names = [inbox, keys.feed, keys.delayed, keys.dead, keys.cancelling]
    names += (name for triple in records for name in triple)
    return _call("finish", names, (ttl, feed_length, keys.job_channels, *outcomes))


def open_memory(lock: str, memory: str, applied: Sequence[str], *, token: str, ttl_ms: int) -> Command:
    """→ None when another worker holds the lock, else [values of OPENED_FIELDS, applied values]."""
    return _call("open", (lock, memory, *applied), (token, ttl_ms))


def backfill(memory: str, *, text_hash: str, space: str, field: str, vector: bytes, model: str) -> Command:
    """→ b"done", b"changed" or b"gone".

    Args:
        memory: key name.
        text_hash: of the text the vector is of.
        space, field: the embedding space's names.
        vector: in the space's datatype.
        model: the memory's `embedding_model` from now on; empty leaves it.
    """
    return _call("backfill", (memory,), (text_hash, space, field, vector, model))


def drop(memory: str, *, space: str, field: str, model: str) -> Command:
    """→ 1 when there was something of the space.

    Args:
        memory: key name.
        space, field: the embedding space's names.
        model: the memory's `embedding_model` from now on.
    """
    return _call("drop", (memory,), (space, field, model))


def advance(
    keys: Keys,
    job_id: str,
    revision: int,
    *,
    feed_length: int,
    ttl: int,
    is_over: bool,
    fields: Sequence[Any],
    removed: Sequence[str],
    told: Sequence[str],
) -> Command:
    """→ 1 when the re-embedding was moved on.

    Args:
        job_id, revision: as they were read.
        feed_length: changes the feed keeps.
        ttl: seconds the state is kept when it is over.
        is_over: another re-embedding may begin.
        fields: field, value, field, value … of its state.
        removed: fields to remove.
        told: field, value, … of an entry of the feed.
    """
    values: list[Any] = [job_id, revision, feed_length, ttl, int(is_over)]
    for part in (fields, removed, told):
        values += (len(part), *part)
    return _call("advance", (keys.migration, keys.feed, keys.migration_failures), values)


def commit(
    memory: str,
    history: str,
    lock: str,
    conflicts: str,
    applied: Sequence[str],
    *,
    based_on: int,
    spaces: str,
    token: str,
    ttl: int,
    fields: Sequence[Any],
    removed: Sequence[str],
    changes: Sequence[tuple[str, Sequence[Any]]],
    disputed: Sequence[str] = (),
    resolved: Sequence[str] = (),
    erase: bool = False,
) -> Command:
    """→ b"committed" or b"stale".

    Args:
        memory, history, lock, conflicts, applied: key names; one applied mark for each change.
        based_on: the version the decision was based on, 0 for a new memory.
        spaces: `embedding_space` the decision was based on, empty for none.
        token: the lock's.
        ttl: seconds the applied marks are kept.
        fields: field, value, field, value … of the hash.
        removed: fields to remove from the hash.
        changes: for each change its applied value and its history entry (field, value, …).
        disputed: mark, document, mark, document … of the conflicts that arose.
        resolved: marks of the conflicts that wait no more.
        erase: leave nothing but `fields`, and no content in the history.
    """
    values: list[Any] = [based_on, token, ttl, int(erase), spaces]
    for part in (fields, removed, disputed, resolved):
        values += (len(part), *part)
    for mark, entry in changes:
        values += (mark, len(entry), *entry)
    return _call("commit", (memory, history, lock, conflicts, *applied), values)


def _call(name: str, keys: Sequence[str], args: Sequence[Any]) -> Command:
    return ("EVALSHA", _digest(name), len(keys), *keys, *args)


@cache
def _digest(name: str) -> str:
    return script_digest(_source(name))


def _source(name: str) -> str:
    source = lua_source("emendo_workers", name)
    # The fields are a constant of the script: sent along, they would be half of what a call costs.
    return source.replace("@FIELDS@", ", ".join(f"'{field}'" for field in OPENED_FIELDS))
