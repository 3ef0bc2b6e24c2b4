"""The invariants: what was asked, what the jobs say, what Redis holds; they must agree to the last entry.

Nothing here asks the product what is right. Records, hashes, history streams, feed and index are read raw. The
right state of a memory is worked out from the requests, in the order of their submission. (`client.diagnose` is asked
as well: it must find nothing.)
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from emendo_client import MemoryClient
from emendo_client.testing.openai_server.vectors import embed
from emendo_client.times import iso
from emendo_config import Keys, Settings
from tests.chaos.replay import Applied, Entry, erased_problems, expected, foreign_changes, set_aside_wrongly
from tests.chaos.traffic import Ask, Submission

FINAL = ("succeeded", "partially_succeeded", "failed", "cancelled")
# Refusals of the request itself: no replay could change them, so they are no dead letters.
NOTHING_TO_REPLAY = {
    *("CANCELLED", "CONFLICT", "MEMORY_ERASED", "MEMORY_NOT_FOUND", "NOTHING_TO_MERGE", "NO_SUCH_CONFLICT"),
    *("NO_SUCH_VERSION", "SUPERSEDED", "VALIDATION", "VERSION_MISMATCH"),
}
Pardon = Callable[[Ask, str], bool]


@dataclass(slots=True)
class Report:
    """One scenario's row; the last four columns must be zero."""

    scenario: str
    seed: int
    jobs: int = 0
    faults: int = 0
    lost: int = 0
    duplicated: int = 0
    gaps: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.gaps or self.wrong)

    def blame(self, column: str, note: str, count: int = 1) -> None:
        """Counts a violation, and says what it is."""
        setattr(self, column, getattr(self, column) + count)
        self.notes.append(f"{column}: {note}")

    def row(self) -> tuple[str, ...]:
        numbers = (self.jobs, self.faults, self.lost, self.duplicated, self.gaps, self.wrong)
        return (self.scenario, *map(str, numbers))


@dataclass(frozen=True, slots=True)
class Failure:
    """One item that failed: when it was submitted (microseconds), what was asked, and the error's code."""

    job_id: str
    ask: Ask
    submitted: int
    code: str


def left_over(control: redis.Redis, keys: Keys) -> dict[str, int]:
    """How many entries lie in each inbox, delayed jobs and open batches there are; none of what there is none of.

    Looked at in one transaction: what moves from the delayed ones to an inbox meanwhile would be seen in neither.
    """
    shards = [shard.decode() for shard in control.smembers(keys.shards)]
    pipeline = control.pipeline(transaction=True)
    pipeline.zcard(keys.delayed)
    pipeline.zcard(keys.accepting)
    pipeline.scard(keys.waiting_lanes)
    for shard in shards:
        pipeline.xlen(keys.inbox(shard))
    counts = zip(["delayed", "accepting", "waiting", *shards], pipeline.execute(), strict=True)
    return {name: count for name, count in counts if count}


class Invariants:
    """Checks one scenario's end; `check` is all there is to call, when the jobs are over."""

    # Checks of a diagnosis that may fail.
    _excused: frozenset[str] = frozenset()

    def __init__(self, client: MemoryClient, report: Report, pardon: Pardon) -> None:
        self._client = client
        self._settings: Settings = client.settings
        self._keys = Keys(client.settings.key_prefix)
        self._report = report
        self._pardon = pardon
        self._applied: dict[str, list[Applied]] = defaultdict(list)
        self._idle: dict[str, list[Ask]] = defaultdict(list)
        self._failures: dict[str, list[Failure]] = defaultdict(list)
        self._redis = self._connect_to_data()
        self._control = redis.Redis.from_url(client.settings.control_url, protocol=2)

    def _connect_to_data(self) -> redis.Redis:
        return redis.Redis.from_url(self._settings.redis_url, protocol=2)

    def check(self, submissions: Sequence[Submission]) -> Report:
        """Every job, every memory, the feed, the index, and that nothing is left lying about."""
        with self._redis, self._control:
            for submission in submissions:
                self._check_job(submission)
            memories = sorted(self._applied.keys() | self._failures.keys() | self._idle.keys())
            versions: set[tuple[str, int]] = set()
            for memory_id in memories:
                versions |= self._check_memory(memory_id)
            self._check_feed(versions)
            self._check_phantoms(submissions)
            self._check_index(memories)
            self._check_dead_letters(memories)
            self._check_quiet()
        return self._report

    # Jobs.

    def _check_job(self, submission: Submission) -> None:
        blame, job_id = self._report.blame, submission.job_id
        job = self._hash(self._keys.job(job_id))
        if job.get("status") not in FINAL:
            return blame("lost", f"job {job_id} is {job.get('status', 'gone')}")
        records = [job]
        if "chunks" in job:
            records = [self._hash(self._keys.job(f"{job_id}:{n}")) for n in range(int(job["chunks"]))]
        results: list[tuple[int, dict[str, Any]]] = []
        for record in records:
            submitted = record.get("submitted", "")
            first = int(submitted) if submitted.isdecimal() else 0  # a damaged record keeps what it has
            items = json.loads(record.get("results", "[]"))
            # A chunk reserves a submission time for each of its items.
            results += ((first + at if "chunks" in job else first, item) for at, item in enumerate(items))
        if len(results) != len(submission.asks):
            return blame("lost", f"job {job_id} has {len(results)} results for {len(submission.asks)} items")
        codes = [item["error"]["code"] for _, item in results if item.get("error")]
        whole = "succeeded" if not codes else "failed" if len(codes) == len(results) else "partially_succeeded"
        if job["status"] != whole:
            blame("wrong", f"job {job_id} is {job['status']}, its items say {whole}")
        if "chunks" in job:
            self._check_account(job, len(codes))
        for record in records:
            self._check_payload(record)
        for ask, (submitted, item) in zip(submission.asks, results, strict=True):
            self._note_item(job_id, ask, submitted, item)
        return None

    def _check_account(self, job: dict[str, str], failed: int) -> None:
        items = int(job["items"])
        right = {"open": 0, "done": items, "failed": failed, "succeeded": items - failed}
        told = {name: int(job.get(name, 0)) for name in right}
        if told != right:
            self._report.blame("wrong", f"batch {job['id']} counts {told}, not {right}")

    def _check_payload(self, record: dict[str, str]) -> None:
        """A dead letter keeps its payload and is listed; what is over keeps none."""
        codes = {item["error"]["code"] for item in json.loads(record.get("results", "[]")) if item.get("error")}
        dead = bool(codes - NOTHING_TO_REPLAY)
        listed = self._control.zscore(self._keys.dead(self._client.project), record["id"]) is not None
        if dead != listed or dead != ("payload" in record):
            self._report.blame("wrong", f"{record['id']} ended with {codes}, listed as dead: {listed}")

    def _note_item(self, job_id: str, ask: Ask, submitted: int, item: dict[str, Any]) -> None:
        if item["memory_id"] != ask.memory_id:
            self._report.blame("wrong", f"job {job_id} answers for another memory")
        elif item.get("error"):
            self._failures[ask.memory_id].append(Failure(job_id, ask, submitted, item["error"]["code"]))
        elif not item.get("event"):
            self._idle[ask.memory_id].append(ask)
        else:
            applied = Applied(job_id, ask, submitted, item["event"], int(item["version"]))
            self._applied[ask.memory_id].append(applied)

    # Memories.

    def _check_memory(self, memory_id: str) -> set[tuple[str, int]]:
        """One memory against its history and its requests; its (id, version) pairs."""
        blame, applied = self._report.blame, self._applied[memory_id]
        entries = [Entry.read(*raw) for raw in self._redis.xrange(self._keys.history(memory_id))]
        if [entry.version for entry in entries] != list(range(1, len(entries) + 1)):
            blame("gaps", f"{memory_id} has versions {[entry.version for entry in entries]}")
        by_version = {entry.version: entry for entry in entries}
        self._check_entries(memory_id, entries, by_version)
        raw = self._redis.hgetall(self._keys.memory(memory_id))
        if entries and raw.get(b"version") != b"%d" % entries[-1].version:
            blame("wrong", f"{memory_id} is at version {raw.get(b'version')}, its history at {entries[-1].version}")
        if any(each.ask.hard for each in applied):
            for problem in erased_problems(raw, entries):
                blame("wrong", f"{memory_id}, erased: {problem}")
        elif applied:
            self._check_content(memory_id, raw, applied, by_version)
            for problem in foreign_changes(entries, applied):
                blame("wrong", f"{memory_id}: {problem}")
        for ask in self._idle[memory_id]:
            if not (ask.hard and any(each.ask.hard for each in applied)):  # erased already
                blame("lost", f"{ask.op} of {memory_id} says that it had nothing to do")
        for problem in set_aside_wrongly(applied):
            blame("wrong", f"{memory_id}: {problem}")
        for failure in self._failures[memory_id]:
            if not self._is_right(failure, applied):
                blame("wrong", f"{failure.ask.op} of {memory_id} failed with {failure.code}")
        for finding in [each for each in self._client.diagnose(memory_id).wrong if each.check not in self._excused]:
            blame("wrong", f"{memory_id}: diagnose says {finding.check}: {finding.found}")
        return {(memory_id, entry.version) for entry in entries}

    def _check_entries(self, memory_id: str, entries: list[Entry], by_version: dict[int, Entry]) -> None:
        """Each effect that a job tells of is one entry, and each entry is told of."""
        blame = self._report.blame
        told: Counter[str] = Counter()
        for each in self._applied[memory_id]:
            told[each.job_id] += 1
            entry = by_version.get(each.version)
            right = (each.job_id, each.event, iso(each.submitted))
            if entry is None or (entry.job_id, entry.event, entry.updated_at) != right:
                blame("lost", f"job {each.job_id} tells of version {each.version} of {memory_id}, which is not its own")
        for job_id, count in Counter(entry.job_id for entry in entries).items():
            if count > told[job_id]:
                column = "duplicated" if told[job_id] else "wrong"
                codes = [each.code for each in self._failures[memory_id] if each.job_id == job_id]
                blame(column, f"job {job_id} has {count} entries on {memory_id}, tells of {told[job_id]}, {codes}")

    def _check_content(
        self, memory_id: str, raw: dict[bytes, bytes], applied: list[Applied], by_version: dict[int, Entry]
    ) -> None:
        settings = self._settings
        right = expected(applied, by_version)
        found = {
            "text": raw.get(b"memory", b"").decode(),
            "metadata": json.loads(raw.get(b"metadata") or b"{}"),
            "deleted": raw.get(b"is_deleted") == b"1",
        }
        for name, value in found.items():
            if value != getattr(right, name):
                note = f"{memory_id}: {name} is {value!r}, and by the order of submission {getattr(right, name)!r}"
                self._report.blame("wrong", note)
        vector = raw.get(settings.space.field.encode())
        model, dimensions = settings.embedding_model, settings.embedding_dimensions
        if vector != embed(found["text"], model=model, dimensions=dimensions):
            self._report.blame("wrong", f"{memory_id}: the vector is not its text's")
        newest = [entry for entry in by_version.values() if entry.event != "SUPERSEDED"][-1]
        if newest.text != found["text"] or newest.metadata != found["metadata"]:
            self._report.blame("wrong", f"{memory_id} is not as its newest applied entry left it")

    def _is_right(self, failure: Failure, applied: list[Applied]) -> bool:
        """Whether the item had to fail: anything that could have succeeded must have."""
        ask = failure.ask
        if self._pardon(ask, failure.code):
            return True
        if failure.code == "MEMORY_NOT_FOUND":
            hidden = [each for each in applied if each.event == "DELETE" and each.submitted < failure.submitted]
            return ask.op == "update" and bool(hidden)
        if failure.code == "MEMORY_ERASED":
            return any(each.ask.hard for each in applied)
        if failure.code == "VERSION_MISMATCH":
            return ask.expected_version is not None
        return False

    # The rest of the store.

    def _check_feed(self, versions: set[tuple[str, int]]) -> None:
        """The feed tells of every change of the project once."""
        told: Counter[tuple[str, int]] = Counter()
        for _, raw in self._control.xrange(self._keys.feed):
            if raw[b"project"].decode() != self._client.project or self._is_forgiven(raw):
                continue
            told[raw[b"memory_id"].decode(), int(raw[b"version"])] += 1
        if missing := versions - told.keys():
            self._report.blame("lost", f"the feed lacks {len(missing)} changes", len(missing))
        twice = sum(count > 1 for count in told.values())
        if twice:
            self._report.blame("duplicated", f"the feed tells of {twice} changes twice", twice)
        if untrue := told.keys() - versions:
            self._report.blame("wrong", f"the feed tells of {len(untrue)} changes that are none", len(untrue))

    def _is_forgiven(self, change: dict[bytes, bytes]) -> bool:
        """Whether the feed may tell of a change that is not there; see `failover.py`."""
        return False

    def _check_phantoms(self, submissions: Sequence[Submission]) -> None:
        """No job exists that nobody asked for, and none has vanished from its project's list."""
        listed = {name.decode() for name in self._control.zrange(self._keys.jobs(self._client.project), 0, -1)}
        asked = {submission.job_id for submission in submissions}
        if listed != asked:
            self._report.blame("wrong", f"{len(listed - asked)} jobs are phantoms, {len(asked - listed)} not listed")

    def _check_index(self, memories: list[str]) -> None:
        """The index finds the project's memories that are alive, each by its own vector, and no other."""
        keys, field_name = self._keys, self._settings.space.field
        mine = f"@is_deleted:{{0}} @project:{{{self._client.project}}}"
        reply = self._redis.execute_command(
            *("FT.SEARCH", keys.index_alias, mine, "NOCONTENT", "LIMIT", 0, 10_000 + len(memories), "DIALECT", 2)
        )
        found = {name.decode() for name in reply[1:]}
        hashes = {keys.memory(memory_id): self._redis.hgetall(keys.memory(memory_id)) for memory_id in memories}
        alive = {name for name, raw in hashes.items() if raw.get(b"is_deleted") == b"0"}
        if found != alive:
            self._report.blame("wrong", f"the index is wrong on {len(found ^ alive)} memories", len(found ^ alive))
        for name in alive:
            query = f"@is_deleted:{{0}}=>[KNN 3 @{field_name} $vector AS distance]"
            near = self._redis.execute_command(
                *("FT.SEARCH", keys.index_alias, query, "PARAMS", 2, "vector", hashes[name][field_name.encode()]),
                *("SORTBY", "distance", "RETURN", 1, "distance", "DIALECT", 2),
            )
            if name.encode() not in near[1::2]:
                self._report.blame("wrong", f"the index does not find {name} by its vector")

    def _check_dead_letters(self, memories: list[str]) -> None:
        """No record holds anything of an erased memory."""
        erased = {each for each in memories if any(done.ask.hard for done in self._applied[each])}
        if not erased:
            return
        for name in self._control.scan_iter(match=f"{self._keys.job('')}*", count=1_000):
            payload = json.loads(self._control.hget(name, "payload") or "{}")
            for operation in payload.get("operations", ()):
                if operation["memory_id"] in erased and ("text" in operation or "metadata" in operation):
                    self._report.blame("wrong", f"{name.decode()} keeps the content of an erased memory")

    def _check_quiet(self) -> None:
        left = left_over(self._control, self._keys)
        if left:
            self._report.blame("wrong", f"left over: {left}")

    def _hash(self, name: str) -> dict[str, str]:
        found = self._control.hgetall(name) if self._control.type(name) == b"hash" else {}
        return {key.decode(): value.decode(errors="replace") for key, value in found.items()}
