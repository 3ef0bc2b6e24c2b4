"""Every Redis key name, built in this one place (docs/design.md, "Data in Redis").

The braces around a memory id make all keys of one memory share a cluster slot, so that one script may
change them together. Nothing outside this module spells a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names below one prefix (`EMENDO_KEY_PREFIX`, default `emendo:`)."""

    prefix: str = "emendo:"

    # Data plane: one memory's keys, one slot.

    @property
    def memory_prefix(self) -> str:
        """The prefix of every memory hash, and of nothing else; the index's PREFIX.

        Its brace keeps out the memories of an installation whose own prefix begins with this one's `memory:`.
        """
        return f"{self.prefix}memory:{{"

    def memory(self, memory_id: str) -> str:
        """Hash: the memory as it is now."""
        return f"{self.prefix}memory:{{{memory_id}}}"

    @property
    def memory_pattern(self) -> str:
        """Glob for SCAN's MATCH: the memory hashes of this prefix, whatever characters the prefix has."""
        return _literal(self.memory_prefix) + "*}"

    def memory_id(self, key: str) -> str | None:
        """The inverse of `memory`; None for a key that is none of ours."""
        start, end = self.memory_prefix, "}"
        return key[len(start) : -len(end)] if key.startswith(start) and key.endswith(end) else None

    def history(self, memory_id: str) -> str:
        """Stream: every change of the memory, oldest first."""
        return f"{self.prefix}history:{{{memory_id}}}"

    def erased_history(self, memory_id: str) -> str:
        """Stream: entries of an erased memory that still hold content; a worker moves what may stay to `history`."""
        return f"{self.prefix}erased-history:{{{memory_id}}}"

    def importing(self, memory_id: str, token: str) -> str:
        """Stream with TTL: the part of a history that an import, known by its token, has put aside."""
        return f"{self.prefix}importing:{{{memory_id}}}:{token}"

    def lock(self, memory_id: str) -> str:
        """String with TTL: token of the worker that works on the memory."""
        return f"{self.prefix}lock:{{{memory_id}}}"

    def scope_lock(self, digest: str) -> str:
        """String with TTL: token of the worker that infers in the scope of that digest."""
        return f"{self.prefix}scope-lock:{digest}"

    def scope_inner(self, digest: str) -> str:
        """Set with TTL: the locks of narrower scopes than this one, as far as somebody infers in them."""
        return f"{self.prefix}scope-inner:{digest}"

    def scope_wanted(self, digest: str) -> str:
        """String with TTL: an add of this scope waits for those of narrower ones, so that no further one begins."""
        return f"{self.prefix}scope-wanted:{digest}"

    def applied(self, memory_id: str, job_id: str) -> str:
        """String with TTL: the version and event this job's effect on the memory got."""
        return f"{self.prefix}applied:{{{memory_id}}}:{job_id}"

    def confirmed(self, memory_id: str) -> str:
        """String with TTL: the version that a strong operation without a change has just confirmed."""
        return f"{self.prefix}confirmed:{{{memory_id}}}"

    def conflict(self, memory_id: str) -> str:
        """Hash: submissions that wait for a person's decision, by the mark of what submitted them."""
        return f"{self.prefix}conflict:{{{memory_id}}}"

    @property
    def conflict_pattern(self) -> str:
        """Glob for SCAN's MATCH: the conflicts of all memories of this prefix."""
        return _literal(f"{self.prefix}conflict:{{") + "*}"

    def conflict_memory(self, key: str) -> str | None:
        """The inverse of `conflict`; None for a key that is none of ours."""
        start, end = f"{self.prefix}conflict:{{", "}"
        return key[len(start) : -len(end)] if key.startswith(start) and key.endswith(end) else None

    @property
    def erasures(self) -> str:
        """Sorted set: ids of memories whose `erased_history` may still be there, by the time of the commit (ms)."""
        return f"{self.prefix}erasures"

    @property
    def spaces(self) -> str:
        """Hash: the embedding spaces of this store (JSON) by name."""
        return f"{self.prefix}spaces"

    # Control plane: everything about jobs.

    def job(self, job_id: str) -> str:
        """Hash: the record of a job, or of a batch job's chunk (`<job id>:<n>`)."""
        return f"{self.prefix}job:{job_id}"

    def damaged(self, job_id: str) -> str:
        """Any type: the value that a job's key held in place of a record."""
        return f"{self.prefix}damaged:{job_id}"

    def jobs(self, project: str) -> str:
        """Sorted set: the project's job ids by submission time (microseconds)."""
        return f"{self.prefix}jobs:{project}"

    @property
    def job_channels(self) -> str:
        """The prefix of the names of `job_channel`."""
        return f"{self.prefix}done:"

    def job_channel(self, job_id: str) -> str:
        """Pub/sub channel: says the job's final status once."""
        return f"{self.job_channels}{job_id}"

    def project(self, project: str) -> str:
        """Hash: the project's rules for inference, `instructions` and `categories`."""
        return f"{self.prefix}project:{project}"

    def idempotency(self, project: str, key: str) -> str:
        """Hash with TTL: the job first accepted under the caller's idempotency key, and its fingerprint."""
        # The length keeps project "a" with key "b:c" apart from project "a:b" with key "c".
        return f"{self.prefix}idempotency:{len(project)}:{project}:{key}"

    def inbox(self, shard: str) -> str:
        """Stream with consumer group `workers`: accepted jobs and chunks, oldest first."""
        return f"{self.prefix}inbox:{shard}"

    def wakeup(self, shard: str) -> str:
        """String with TTL: `rung:<id>` (a drain is on its way) or `drain:<worker>` (it is running)."""
        return f"{self.prefix}bell:{shard}"

    @property
    def shards(self) -> str:
        """Set: the shards that ever had a job, so that lowering `EMENDO_INBOX_SHARDS` strands nothing."""
        return f"{self.prefix}shards"

    @property
    def lock_queue_prefix(self) -> str:
        """The prefix of the names of `lock_queue`."""
        return f"{self.prefix}lock-queue:"

    def lock_queue(self, memory_id: str) -> str:
        """Sorted set with TTL: `<shard>:<job id>` of the delayed jobs that found the memory's lock taken, in order."""
        return f"{self.lock_queue_prefix}{memory_id}"

    @property
    def open_jobs_prefix(self) -> str:
        """The prefix of the names of `open_jobs`."""
        return f"{self.prefix}open:"

    def open_jobs(self, project: str) -> str:
        """Sorted set with TTL: the project's jobs and chunks that have not ended, by submission time (microseconds)."""
        return f"{self.open_jobs_prefix}{project}"

    @property
    def admitted_prefix(self) -> str:
        """The prefix of the names of `admitted`."""
        return f"{self.prefix}admitted:"

    def admitted(self, lane: str, project: str) -> str:
        """Set with TTL: the records in the project's window of that lane; see `emendo_config.project_limits`."""
        return f"{self.admitted_prefix}{lane}:{project}"

    @property
    def waiting_prefix(self) -> str:
        """The prefix of the names of `waiting`."""
        return f"{self.prefix}waiting:"

    def waiting(self, lane: str, project: str) -> str:
        """List: `<shard>:<record id>` of records that wait for a place in the project's window, oldest first."""
        return f"{self.waiting_prefix}{lane}:{project}"

    @property
    def waiting_lanes(self) -> str:
        """Set with TTL: `<lane>:<project>` of the waiting lists that are not empty."""
        return f"{self.prefix}waiting-lanes"

    @property
    def accepting(self) -> str:
        """Sorted set: batch jobs whose caller is still sending items, by the time of the newest ones (milliseconds)."""
        return f"{self.prefix}accepting"

    def weak_sealed(self, job_id: str) -> str:
        """String with TTL: the last call of this weak batch job was made; its record goes with its end."""
        return f"{self.prefix}sealed:{job_id}"

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

    def dead(self, project: str) -> str:
        """Sorted set: ids of the project's dead-lettered jobs by the time they failed (microseconds)."""
        return f"{self.prefix}dead:{project}"

    @property
    def dead_projects(self) -> str:
        """Set: the projects that have dead letters."""
        return f"{self.prefix}dead-projects"

    def dead_of(self, memory_id: str) -> str:
        """Set: ids of the dead letters, and of the jobs put aside, whose payload has an operation on the memory."""
        return f"{self.prefix}dead-of:{memory_id}"

    @property
    def unsorted_dead(self) -> str:
        """Sorted set: dead letters of all projects, as earlier releases list them; housekeeping moves them."""
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
        """String with TTL: the worker that sweeps just now.

        A release whose sweeps have more steps takes another lease. So a worker of an older release, whose lease never
        ends while it runs, does not keep the newer workers from taking these steps.
        """
        return f"{self.prefix}sweeper:2"

    @property
    def projects(self) -> str:
        """Set: the projects that have a list of jobs or of conflicts, as far as housekeeping has found them."""
        return f"{self.prefix}projects"

    @property
    def project_list_pattern(self) -> str:
        """Glob for SCAN's MATCH: the lists `jobs` and `conflicts` of all projects, and few other keys."""
        return _literal(self.prefix) + "[jc]o[bn][sf]*:*"

    def listed_project(self, key: str) -> str | None:
        """The project that a list of jobs or of conflicts belongs to; None for another key."""
        starts = (self.jobs(""), self.conflicts(""))
        return next((key[len(start) :] for start in starts if key.startswith(start)), None)

    @property
    def housekeeping(self) -> str:
        """Hash: when housekeeping last ended (`ended`, milliseconds), and how far its search for projects is.

        Also when something was last erased (`erased`), and when each plane was asked for a rewrite of its append-only
        file (`rewrite:data`, `rewrite:control`), all in milliseconds. How far the renewal of metadata tags is: the
        cursor (`tags_cursor`), the turns that ended (`tags_turns`), the end of the last (`tags_turned`, seconds).
        """
        return f"{self.prefix}housekeeping"

    @property
    def housekeeper(self) -> str:
        """String with TTL: token of the housekeeping that runs just now."""
        return f"{self.prefix}housekeeper"

    @property
    def usage(self) -> str:
        """Hash: the results and the cost of inference, see `emendo_config.store.usage_counters`."""
        return f"{self.prefix}usage"

    @property
    def metrics(self) -> str:
        """Hash: the workers' counts for Prometheus, see `emendo_config.metric_families`."""
        return f"{self.prefix}metrics"

    def counted(self, token: str) -> str:
        """String with TTL: a drain's counts with this token are part of `metrics`."""
        return f"{self.prefix}counted:{token}"

    @property
    def workers(self) -> str:
        """Sorted set: live worker processes by the time of their last heartbeat (milliseconds)."""
        return f"{self.prefix}workers"

    @property
    def worker_faults(self) -> str:
        """Hash with TTL: by worker, the fault for which it claims no jobs (JSON)."""
        return f"{self.prefix}worker-faults"

    @property
    def full(self) -> str:
        """String with TTL: is there while a Redis has reached `EMENDO_MEMORY_WATERMARK`."""
        return f"{self.prefix}full"

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

    def rate_limit(self, provider: str) -> str:
        """Hash with TTL: how much of the provider's rate limits is spent, and what it said of them."""
        return f"{self.prefix}pace:{provider}"

    def reservation(self, provider: str, reservation_id: str) -> str:
        """String with TTL: this reservation's turn (milliseconds), or `told`: its answer has been learnt from."""
        return f"{self.prefix}paced:{provider}:{reservation_id}"

    def embedding(self, space: str, digest: str) -> str:
        """String with TTL: a cached vector (float32 bytes)."""
        return f"{self.prefix}embedding:{space}:{digest}"

    @property
    def embedding_bytes_prefix(self) -> str:
        """The prefix of the names of `embedding_bytes`."""
        return f"{self.prefix}embedding-bytes:"

    def embedding_bytes(self, space: str, period: int) -> str:
        """String with TTL: bytes of vectors cached in one period, so that the cache's size is known and bounded."""
        return f"{self.embedding_bytes_prefix}{space}:{period}"

    # The HTTP gateway.

    def gateway_key(self, key_id: str) -> str:
        """Hash: an API key's project, scope and dates, and the hash of its secret."""
        return f"{self.prefix}gateway:key:{key_id}"

    @property
    def gateway_keys(self) -> str:
        """Sorted set: ids of the API keys by the time they were made (seconds)."""
        return f"{self.prefix}gateway:keys"

    @property
    def gateway_rates(self) -> str:
        """The prefix of the counters with TTL that the library `limits` keeps: requests of keys, failed logins."""
        return f"{self.prefix}gateway:rates"

    # Index names.

    @property
    def index_alias(self) -> str:
        """The alias every search goes through."""
        return f"{self.prefix}memories"

    def index(self, space: str) -> str:
        """The real index of one embedding space; the alias stands for the active one's."""
        return f"{self.prefix}index:{space}:2"

    def open_index(self, space: str) -> str:
        """The index that earlier releases made of the space; its prefix is open, so it may hold others' memories."""
        return f"{self.prefix}index:{space}"

    def is_index(self, name: str) -> bool:
        """True for the name of an index of this prefix, and of no longer one."""
        found = _INDEX.fullmatch(name)
        return found is not None and found["prefix"] == self.prefix

    # Other installations in the same Redis.

    def neighbours(self, indexes: Iterable[str]) -> list[str]:
        """The prefixes of other installations whose keys may be taken for keys of this one, or the other way round.

        Args:
            indexes: the names of all indexes of the Redis.
        """
        found = {match["prefix"] for match in map(_INDEX.fullmatch, indexes) if match} - {self.prefix}
        return sorted(other for other in found if _inside(other, self.prefix) or _inside(self.prefix, other))

    def owners(self, name: str) -> list[str]:
        """Longer prefixes under which the key is a list of jobs or of conflicts, too."""
        starts = (match.start() for match in re.finditer(r"(jobs|conflicts):", name))
        return [name[:start] for start in starts if start > len(self.prefix)]


# An index's name: the installation's prefix, and the name of an embedding space.
_INDEX = re.compile(r"(?P<prefix>.*)index:[a-z0-9_]+(:2)?", re.DOTALL)
# The kinds of keys whose names end with whatever a caller chose, so that another prefix may stand there.
_NAMED = re.compile(
    r"(job|jobs|done|project|idempotency|open|admitted|waiting|conflicts|dead|dead-of|lock-queue|damaged|sealed):"
)


def _inside(longer: str, shorter: str) -> bool:
    """True when keys below the longer prefix look like keys of a kind below the shorter one."""
    return longer.startswith(shorter) and _NAMED.match(longer, len(shorter)) is not None


def _literal(text: str) -> str:
    """A glob that matches just this text."""
    return re.sub(r"([*?\[\\])", r"\\\1", text)
