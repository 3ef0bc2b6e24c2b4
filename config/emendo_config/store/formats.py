"""Every string format that Redis keeps inside a value or a member, built and parsed in this one place.

`emendo_config.store.keys` builds the names of keys. `lua/shared/` holds the few formats that scripts build themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# A shard's wake-up key says either that a drain is on its way, or which drain reads the shard.
WOKEN_PREFIX, DRAIN_PREFIX = "rung:", "drain:"
# Periods of one TTL in which the bytes of cached vectors are counted; the number of one is part of a key.
CACHE_PERIODS = 8
_CONFLICT = "+conflict"
_CANCELLED = "CANCELLED"


def woken_by(notice_id: str) -> str:
    """The value of a wake-up key whose drain is on its way: `rung:<id>`."""
    return f"{WOKEN_PREFIX}{notice_id}"


def drain_owner(worker: str, number: int) -> str:
    """The value of a wake-up key whose shard a drain reads: `drain:<worker>:<n>`."""
    return f"{DRAIN_PREFIX}{worker}:{number}"


def attempt_token(owner: str, entry_id: str, nanoseconds: int) -> str:
    """The token of one attempt at a batch: `<owner>:<first entry>:<monotonic clock>`."""
    return f"{owner}:{entry_id}:{nanoseconds}"


def chunk_id(job_id: str, number: int) -> str:
    """The id of a batch job's chunk: `<job id>:<n>`."""
    return f"{job_id}:{number}"


def job_of(record_id: str) -> str:
    """The job's id, from the id of a job's record or of a batch job's chunk (`<job id>:<n>`)."""
    return record_id.partition(":")[0]


def chunk_of(record_id: str) -> str:
    """The number of a chunk, from its id; empty for a job's record."""
    return record_id.partition(":")[2]


def planned_item(chunk: str, index: int) -> str:
    """The place of a planned operation in a chunk's plan: `<chunk>.<n>`."""
    return f"{chunk}.{index}"


def applied_id(job_id: str, item: int | str | None) -> str:
    """The id that tells an operation from all others on its memory, `<job id>[:<item>]`: the end of its applied key."""
    return job_id if item is None else f"{job_id}:{item}"


def delayed_member(shard: str, record_id: str) -> str:
    """The member of the sorted set of delayed jobs: `<shard>:<record id>`; see `lua/shared/delayed_member.lua`."""
    return f"{shard}:{record_id}"


def split_delayed_member(member: str) -> tuple[str, str]:
    """The shard and the record id: the inverse of `delayed_member`, since no shard's name holds a colon."""
    shard, _, record_id = member.partition(":")
    return shard, record_id


def conflict_id(memory_id: str, applied: str) -> str:
    """The id of a submission that waits for a person's decision: `<memory id>:<applied id>`."""
    return f"{memory_id}:{applied}"


def split_conflict_id(conflict: str) -> tuple[str, str]:
    """The memory's id and the applied id: the inverse of `conflict_id`, since no memory id holds a colon."""
    memory_id, _, applied = conflict.partition(":")
    return memory_id, applied


class Applied(NamedTuple):
    """The effect that an operation had on its memory.

    Attributes:
        is_disputed: True when a part of the submission waits for a person's decision.
    """

    event: str
    version: int
    is_disputed: bool = False

    @property
    def is_cancelled(self) -> bool:
        """True when its job was cancelled first, so that it has no effect and never gets one."""
        return self.event == _CANCELLED


def applied_value(event: str, version: int, *, is_disputed: bool = False) -> str:
    """The value of an applied key: `<event>[+conflict]:<version>`."""
    return f"{event}{_CONFLICT if is_disputed else ''}:{version}"


# The value of the applied key of an operation whose job was cancelled.
CANCELLED_VALUE = applied_value(_CANCELLED, 0)


def parse_applied(value: str) -> Applied:
    """The inverse of `applied_value`."""
    event, _, version = value.partition(":")
    return Applied(event.removesuffix(_CONFLICT), int(version), event.endswith(_CONFLICT))


def version_entry_id(version: int) -> str:
    """The id of a version's entry in the memory's history stream: `<version>-0`."""
    return f"{version}-0"


def listed_spaces(value: str) -> frozenset[str]:
    """The names in a memory's `embedding_space`."""
    return frozenset(filter(None, value.split(",")))


def spaces_value(names: Iterable[str]) -> str:
    """The `embedding_space` of a memory that has these spaces' vectors; see `lua/shared/listed_spaces.lua`."""
    return ",".join(sorted(names))


def grace_key(job_id: str, hour: int) -> str:
    """The idempotency key of the job that ends a re-embedding's grace: `grace:<job id>:<hour>`."""
    return f"grace:{job_id}:{hour}"
