"""Every Redis key name, built in this one place (docs/design.md, "Data in Redis").

The braces around a memory id make all keys of one memory share a cluster slot, so that one script may
change them together. Nothing outside this module spells a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names below one prefix (`EMENDO_KEY_PREFIX`, default `emendo:`)."""

    prefix: str = "emendo:"

    # Data plane: one memory's keys, one slot.

    @property
    def memory_prefix(self) -> str:
        """What every memory hash, and nothing else, begins with; the index's PREFIX."""
        return f"{self.prefix}memory:"

    def memory(self, memory_id: str) -> str:
        """Hash: the memory as it is now."""
        return f"{self.prefix}memory:{{{memory_id}}}"

    @property
    def memory_pattern(self) -> str:
        """Glob for SCAN's MATCH: the memory hashes of this prefix, whatever characters the prefix has."""
        return re.sub(r"([*?\[\\])", r"\\\1", self.memory_prefix) + "{*}"

    def memory_id(self, key: str) -> str | None:
        """The inverse of `memory`; None for a key that is none of ours."""
        start, end = f"{self.memory_prefix}{{", "}"
        return key[len(start) : -len(end)] if key.startswith(start) and key.endswith(end) else None

    def history(self, memory_id: str) -> str:
        """Stream: every change of the memory, oldest first."""
        return f"{self.prefix}history:{{{memory_id}}}"

    def lock(self, memory_id: str) -> str:
        """String with TTL: token of the worker that works on the memory."""
        return f"{self.prefix}lock:{{{memory_id}}}"

    def scope_lock(self, digest: str) -> str:
        """String with TTL: token of the worker that infers in the scope of that digest."""
        return f"{self.prefix}scope-lock:{digest}"

    def applied(self, memory_id: str, job_id: str) -> str:
        """String with TTL: the version and event this job's effect on the memory got."""
        return f"{self.prefix}applied:{{{memory_id}}}:{job_id}"

    def conflict(self, memory_id: str) -> str:
        """Hash: submissions that wait for a person's decision, by the mark of what submitted them."""
        return f"{self.prefix}conflict:{{{memory_id}}}"

    @property
    def spaces(self) -> str:
        """Hash: the embedding spaces of this store (JSON) by name."""
        return f"{self.prefix}spaces"

    # Control plane: everything about jobs.

    def job(self, job_id: str) -> str:
        """Hash: the record of a job, or of a batch job's chunk (`<job id>:<n>`)."""
        return f"{self.prefix}job:{job_id}"

    def jobs(self, project: str) -> str:
        """Sorted set: the project's job ids by submission time (microseconds)."""
        return f"{self.prefix}jobs:{project}"

    @property
    def job_channels(self) -> str:
        """What the names of `job_channel` begin with."""
        return f"{self.prefix}done:"

    def job_channel(self, job_id: str) -> str:
        """Pub/sub channel: says the job's final status once."""
        return f"{self.job_channels}{job_id}"

    def project(self, project: str) -> str:
        """Hash: what the project asks of inference, `instructions` and `categories`."""
        return f"{self.prefix}project:{project}"

    def idempotency(self, project: str, key: str) -> str:
        """Hash with TTL: the job first accepted under the caller's idempotency key, and its fingerprint."""
        # The length keeps project "a" with key "b:c" apart from project "a:b" with key "c".
        return f"{self.prefix}idempotency:{len(project)}:{project}:{key}"

    def inbox(self, shard: str) -> str:
        """Stream with consumer group `workers`: accepted jobs and chunks, oldest first."""
        return f"{self.prefix}inbox:{shard}"

    def bell(self, shard: str) -> str:
        """String with TTL: `rung:<id>` (a drain is on its way) or `drain:<worker>` (it is running)."""
        return f"{self.prefix}bell:{shard}"

    @property
    def shards(self) -> str:
        """Set: the shards that ever had a job, so that lowering `EMENDO_INBOX_SHARDS` strands nothing."""
        return f"{self.prefix}shards"

    @property
    def accepting(self) -> str:
        """Sorted set: batch jobs whose caller is still sending items, by the time of the newest ones (milliseconds)."""
        return f"{self.prefix}accepting"

    def conflicts(self, project: str) -> str:
        """Sorted set: `<memory id>:<mark>` of the project's waiting conflicts by the time they arose (microseconds)."""
        return f"{self.prefix}conflicts:{project}"

    @property
    def clock(self) -> str:
        """String: the newest submission time given out, so that no two submissions are ever equal."""
        return f"{self.prefix}clock"

    @property
    def delayed(self) -> str:
        """Sorted set: `<shard>:<job id>` by the time of the next attempt (milliseconds)."""
        return f"{self.prefix}delayed"

    @property
    def dead(self) -> str:
        """Sorted set: ids of dead-lettered jobs by the time they died (microseconds)."""
        return f"{self.prefix}dead"

    @property
    def feed(self) -> str:
        """Stream, capped: every change of every memory, without its text."""
        return f"{self.prefix}feed"

    @property
    def cancelling(self) -> str:
        """Set with TTL: running jobs somebody asked to cancel."""
        return f"{self.prefix}cancelling"

    @property
    def sweeper(self) -> str:
        """String with TTL: the worker that sweeps just now."""
        return f"{self.prefix}sweeper"

    @property
    def usage(self) -> str:
        """Hash: what inference has done and what it cost, see `emendo_config.usage`."""
        return f"{self.prefix}usage"

    @property
    def workers(self) -> str:
        """Sorted set: live worker processes by the time of their last heartbeat (milliseconds)."""
        return f"{self.prefix}workers"

    @property
    def migration(self) -> str:
        """Hash: the store's re-embedding: which job, from where to where, how far, paused or not."""
        return f"{self.prefix}migration"

    @property
    def migration_failures(self) -> str:
        """Hash: the error code of each memory the re-embedding failed at, by the memory's id."""
        return f"{self.prefix}migration-failures"

    def breaker(self, provider: str) -> str:
        """Hash with TTL: failures in a row, and until when the provider is left alone."""
        return f"{self.prefix}breaker:{provider}"

    def pace(self, provider: str) -> str:
        """Hash with TTL: how much of the provider's rate limits is spent, and what it said of them."""
        return f"{self.prefix}pace:{provider}"

    def paced(self, provider: str, reservation_id: str) -> str:
        """String with TTL: this reservation's turn (milliseconds), or `told`: its answer has been learnt from."""
        return f"{self.prefix}paced:{provider}:{reservation_id}"

    def embedding(self, space: str, digest: str) -> str:
        """String with TTL: a cached vector (float32 bytes)."""
        return f"{self.prefix}embedding:{space}:{digest}"

    def embedding_bytes(self, space: str, period: int) -> str:
        """String with TTL: bytes of vectors cached in one period, so that the cache's size is known and bounded."""
        return f"{self.prefix}embedding-bytes:{space}:{period}"

    # Index names.

    @property
    def index_alias(self) -> str:
        """The alias every search goes through."""
        return f"{self.prefix}memories"

    def index(self, space: str) -> str:
        """The real index of one embedding space; the alias stands for the active one's."""
        return f"{self.prefix}index:{space}"
