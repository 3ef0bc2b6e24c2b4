"""Scripts about shards and their readers, and about leases."""

from __future__ import annotations

from emendo_config.store.formats import DRAIN_PREFIX
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.declaration import Key, Number, Values, script

# The consumer group of every inbox.
GROUP = "workers"


@script(reply=bool, constants={"group": GROUP}, at_limit=True)
def ensure_group(*, inbox: Key) -> None:
    """True: the inbox and its consumer group are there."""


@script(reply=bool, constants={"drain_prefix": DRAIN_PREFIX}, at_limit=True)
def claim(*, wakeup: Key, owner: str, lease_ms: int) -> None:
    """True when the drain is the shard's only reader now.

    Args:
        wakeup: the shard's wake-up key.
        owner: the drain, see `formats.drain_owner`.
        lease_ms: how long it is, unless it renews.
    """


@script(reply=as_text, at_limit=True)
def close(*, wakeup: Key, inbox: Key, owner: str, over_budget: bool, woken_by: str, wakeup_ttl_ms: int) -> None:
    """The drain's next move: silent, more, notify or lost (see the script).

    Args:
        wakeup, inbox: the shard's.
        owner: the drain.
        over_budget: it is to end although jobs wait.
        woken_by: the key's value for a successor, see `formats.woken_by`.
        wakeup_ttl_ms: how long the successor may take to come.
    """


@script(reply=bool, shared=("allowed", "account"), at_limit=True)
def count(*, metrics: Key, counted: Key, kept_ms: int, counts: Values) -> None:
    """True: the counts are added; False: they were before, or there is no place for them.

    Args:
        metrics: the hash, see `emendo_config.metric_families`.
        counted: says that these counts were added.
        kept_ms: for how long it says so.
        counts: field, count, …; at least one.
    """


@script(reply=bool, at_limit=True)
def wake(*, wakeup: Key, inbox: Key, woken_by: str, wakeup_ttl_ms: int) -> None:
    """True when jobs wait, nobody is coming, and the caller must publish a drain."""


@script(reply=bool, at_limit=True)
def requeue(
    *,
    delayed: Key,
    inbox: Key,
    wakeup: Key,
    shards: Key,
    member: str,
    record_id: str,
    shard: str,
    woken_by: str,
    wakeup_ttl_ms: int,
) -> None:
    """True when the caller must publish a drain.

    Args:
        delayed, inbox, wakeup, shards: the sorted set of delayed jobs; the shard's keys; the set of shards.
        member: of the sorted set, see `formats.delayed_member`.
        record_id, shard: of the job or chunk.
        woken_by, wakeup_ttl_ms: as for `close`.
    """


@script(reply=bool, constants={"group": GROUP}, at_limit=True)
def postpone(*, inbox: Key, delayed: Key, member: str, entry_id: str, due_ms: int) -> None:
    """True: the entry is among the delayed jobs.

    Args:
        inbox, delayed: the stream that has the entry; the sorted set of delayed jobs.
        member: of the sorted set, see `formats.delayed_member`.
        entry_id: the entry's.
        due_ms: when the sweeper returns it, in milliseconds since 1970.
    """


@script(reply=bool, at_limit=True)
def take(*, lease: Key, token: str, ttl_ms: int) -> None:
    """True when the lease is the token's now, or was before."""


@script(reply=bool, at_limit=True)
def renew(*, lease: Key, token: str, ttl_ms: int) -> None:
    """True while the lease is the token's."""


@script(reply=bool, at_limit=True)
def release(*, lease: Key, token: str) -> None:
    """True when the lease was the token's."""


@script(reply=bool, at_limit=True)
def sign_of_life(*, workers: Key, faults: Key, worker: str, fault: str, forget_ms: Number) -> None:
    """True: the worker is on the list of living ones.

    Args:
        workers, faults: the list; the faults by worker.
        worker: its id.
        fault: JSON, see `WorkerFault`; empty for none.
        forget_ms: how long a silent worker stays on the list.
    """


@script(reply=bool, at_limit=True)
def announce_full(*, full: Key, is_full: bool, ttl_ms: int) -> None:
    """True: requests know whether a Redis has reached its watermark."""


@script(reply=int, at_limit=True)
def hurry(*, delayed: Key, members: Values) -> None:
    """How many of these members of the sorted set of delayed jobs are due now, because they are there."""


@script(reply=bool, at_limit=True)
def note(*, hash: Key, must_exist: bool = False, fields: Values) -> None:  # noqa: A002  # the Lua file calls it so
    """True: the hash has these fields, given as field, value, …. False: there is no such hash, and it must exist.

    Args:
        hash: what housekeeping remembers, or a key of the gateway.
        must_exist: the hash may have expired, and must not come back.
        fields: at least one.
    """


@script(reply=bool, at_limit=True)
def list_projects(*, projects: Key, names: Values) -> None:
    """True: the set of all projects has these names, at least one."""


@script(reply=bool, at_limit=True)
def announce_erasure(*, erasures: Key, at: int, memory_id: str) -> None:
    """True: housekeeping knows of the erasure.

    Args:
        erasures: the list of erasures that are not finished.
        at: milliseconds since 1970, by the control Redis.
        memory_id: the memory's.
    """
