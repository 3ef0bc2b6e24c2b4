"""Figures of promises: histories, erasures, one tenant's wait behind another's work, the return after an outage.

Each is measured on this release and on the one before it, which comes out of git and runs on the same packages. Both
have the same Redis, provider and number of threads. Clients are processes, which are told what to call.
"""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import redis

from emendo_client.testing import OpenAIServer
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings
from emendo_ops.bench.samples import Samples
from tests.bench.plan import Plan
from tests.chaos.mixed_releases import NoSuchReleaseError, OldClient, OldRelease
from tests.support.inferring import Model
from tests.support.patience import LONG_PATIENCE, until

BEFORE = "before"
THREADS = 8
CHAT_SECONDS = 0.25
UPDATES, LETTERS, VERSIONS, ERASED = 500, 100_000, 100_000, 6
FLOOD, FEW, CONVERSATIONS, BEHIND_LOCK, DUE = 20_000, 5, 200, 5_000, 10_000
TEXT, LABEL = "x" * 200, "y" * 100
_AT_ONCE = 1_000
# Fill a store within Redis, since 100,000 records are slow to send.
_LETTERS = """for number = ARGV[4], ARGV[4] + ARGV[5] - 1 do
  local name = string.format('%s-%06d', ARGV[6], number)
  redis.call('HSET', ARGV[1] .. name, 'id', name, 'kind', 'update', 'project', 'b', 'status', 'failed',
    'payload', string.format(ARGV[3], name))
  redis.call('ZADD', KEYS[1], number + 1, name)
  if ARGV[2] ~= '' then redis.call('SADD', ARGV[2] .. name, name) end
end"""
_VERSIONS = """for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local version = string.format('%.0f', number)
  redis.call('XADD', KEYS[1], version .. '-0', 'version', version, unpack(ARGV, 3))
end"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A release on a store of its own, with two projects; its worker is started by the case.

    Attributes:
        a, b: clients of the two.
        control: a connection of the harness.
        is_before: it is the older release.
    """

    settings: Settings
    keys: Keys
    a: OldClient
    b: OldClient
    control: redis.Redis
    worker: WorkerProcess
    is_before: bool

    def add(self, client: OldClient, text: str = TEXT, **more: Any) -> str:
        """The id of a new memory."""
        result = client.add(text, user_id="ana", infer=False, **more).wait(LONG_PATIENCE, raise_on_failure=True)
        return str(result.results[0].memory_id)


Case = Callable[[Subject, Plan], dict[str, float]]


def measured(case: Case) -> Callable[[Plan], Samples]:
    """The experiment that measures a case on both releases, one right after the other."""

    def experiment(plan: Plan) -> Samples:
        samples = Samples()
        with tempfile.TemporaryDirectory(dir=plan.bed.directory) as folder, OpenAIServer() as provider:
            Model(provider).before = lambda stage: time.sleep(CHAT_SECONDS)
            try:
                older = OldRelease(Path(folder) / "older")
            except NoSuchReleaseError as missing:
                raise RuntimeError(str(missing)) from missing
            releases = {"emendo": SimpleNamespace(variables={}), BEFORE: older}
            for number, (name, release) in itertools.product(range(plan.rounds), releases.items()):
                log = Path(folder) / f"{name}-{number}.log"
                with _subject(plan, provider, release, log, is_before=name == BEFORE) as subject:
                    found = case(subject, plan)
                samples.add(name, found)
                samples.note(f"{name}: {', '.join(f'{metric} {value:,.2f}' for metric, value in found.items())}", name)
        return samples

    return experiment


@contextmanager
def _subject(plan: Plan, provider: OpenAIServer, release: Any, log: Path, *, is_before: bool) -> Iterator[Subject]:
    plan.bed.wipe()
    settings = plan.bed.settings(
        broker_url="",
        embedding_base_url=provider.base_url,
        embedding_dimensions=64,
        chat_base_url=provider.base_url,
        chat_api_key="bench",
        chat_model="gpt-5-mini",
    )
    with ExitStack() as running:
        a, b = (
            running.enter_context(OldClient(release, settings.model_copy(update={"project": name}))) for name in "ab"
        )
        control = running.enter_context(
            redis.Redis.from_url(settings.control_url, protocol=2, socket_timeout=LONG_PATIENCE)
        )
        worker = WorkerProcess(settings, log, concurrency=THREADS, variables=release.variables)
        running.callback(worker.kill)  # the work that is left is of no interest
        yield Subject(settings, Keys(settings.key_prefix), a, b, control, worker, is_before)


def history_bytes(subject: Subject, plan: Plan) -> dict[str, float]:
    """Bytes that an update adds to a history: names and values, and beside them Redis' own account of the stream."""
    subject.worker.start()
    memory_id = subject.add(subject.a, metadata={"label": LABEL})
    count = plan.size(UPDATES)
    jobs = [subject.a.update(memory_id, f"{number:06}{TEXT}") for number in range(count)]
    for job in jobs:
        job.wait(LONG_PATIENCE, raise_on_failure=True)
    history = subject.keys.history(memory_id)
    entries: Any = subject.control.xrange(history)
    size = sum(len(part) for _, fields in entries[1:] for pair in fields.items() for part in pair)
    used: Any = subject.control.memory_usage(history, samples=0)
    return {"bytes": size / count, "in memory": used / (count + 1)}


def erasure_beside_letters(subject: Subject, plan: Plan) -> dict[str, float]:
    """From the call of a hard delete to its end, beside dead letters of another project; the median of some."""
    subject.worker.start()
    ids = [subject.add(subject.a) for _ in range(ERASED)]
    alone = _erasing(subject, ids[: ERASED // 2])
    _make_letters(subject, plan.size(LETTERS))
    plan.bed.settle()
    return {"alone_ms": alone, "ms": _erasing(subject, ids[ERASED // 2 :])}


def _erasing(subject: Subject, ids: list[str]) -> float:
    took = []
    for memory_id in ids:
        began = time.perf_counter()
        subject.a.delete(memory_id, hard=True).wait(LONG_PATIENCE, raise_on_failure=True)
        took.append((time.perf_counter() - began) * 1_000)
    return sorted(took)[len(took) // 2]


def _make_letters(subject: Subject, count: int) -> None:
    """Dead letters of the project b, as the release keeps them."""
    keys, control = subject.keys, subject.control
    payload = json.dumps({"operations": [{"op": "update", "memory_id": "%s", "text": TEXT * 4}]})
    listed, index = (keys.unsorted_dead, "") if subject.is_before else (keys.dead("b"), keys.dead_of(""))
    for first in range(0, count, _AT_ONCE):
        many = min(_AT_ONCE, count - first)
        control.eval(_LETTERS, 1, listed, keys.job(""), index, payload, first, many, secrets.token_hex(4))
    if not subject.is_before:
        control.sadd(keys.dead_projects, "b")


def erasure_of_versions(subject: Subject, plan: Plan) -> dict[str, float]:
    """The worst PING of another connection while a memory with many versions is erased, and the time that takes."""
    subject.worker.start()
    memory_id = subject.add(subject.a)
    subject.a.update(memory_id, f"another {TEXT}").wait(LONG_PATIENCE, raise_on_failure=True)
    _make_versions(subject, memory_id, plan.size(VERSIONS))
    plan.bed.settle()
    keys, control = subject.keys, subject.control
    subject.a.delete(memory_id, hard=True)
    began = sent = time.perf_counter()
    worst, is_erased = 0.0, False
    while not is_erased:
        try:
            control.ping()
            worst = max(worst, time.perf_counter() - sent)
            is_erased = control.hexists(keys.memory(memory_id), "erased")
            is_erased = is_erased and not control.exists(keys.erased_history(memory_id))
        except redis.ResponseError:  # BUSY: one script runs for more than five seconds
            continue
        sent = time.perf_counter()
    return {"ping_ms": worst * 1_000, "seconds": time.perf_counter() - began}


def _make_versions(subject: Subject, memory_id: str, count: int) -> None:
    """Further versions of a memory: copies of its newest entry."""
    history, control = subject.keys.history(memory_id), subject.control
    newest: Any = control.xrevrange(history, count=1)
    ((_, fields),) = newest
    version = int(fields[b"version"])
    flat = [part for name, value in fields.items() if name != b"version" for part in (name, value)]
    for first in range(version + 1, version + count, _AT_ONCE):
        control.eval(_VERSIONS, 1, history, first, min(_AT_ONCE, version + count - first), *flat)
    control.hset(subject.keys.memory(memory_id), "version", version + count - 1)


def few_behind_a_batch(subject: Subject, plan: Plan) -> dict[str, float]:
    """B's batch of 5, alone and behind A's batch of 20,000."""
    subject.worker.start()
    _few(subject)
    alone = _took(_few(subject))
    items = [{"messages": f"fact {number}", "user_id": "ana"} for number in range(plan.size(FLOOD))]
    subject.a.batch_add(items, infer=False)
    return {"alone": alone, "seconds": _took(_few(subject))}


def _few(subject: Subject) -> Any:
    return subject.b.batch_add([{"messages": f"mine {n}", "user_id": "ben"} for n in range(FEW)], infer=False)


def add_behind_conversations(subject: Subject, plan: Plan) -> dict[str, float]:
    """B's inferred add, alone and behind A's conversations: added one by one, and then imported."""
    subject.worker.start()
    alone = _took(subject.b.add("I sing.", user_id="ben"))
    count = plan.size(CONVERSATIONS)
    flood = [subject.a.add(f"I like {n}.", user_id=f"user {n}") for n in range(count)]
    behind = _took(subject.b.add("I dance.", user_id="ben"))
    for job in flood:
        job.wait(LONG_PATIENCE, raise_on_failure=True)
    subject.a.batch_add([{"messages": f"I eat {n}.", "user_id": f"user {n}"} for n in range(count)])
    return {"alone": alone, "seconds": behind, "imported": _took(subject.b.add("I swim.", user_id="ben"))}


def retry_behind_a_lock(subject: Subject, plan: Plan) -> dict[str, float]:
    """B's retry, from the moment from which it may succeed, alone and beside A's jobs that wait for one lock."""
    keys, control, count = subject.keys, subject.control, plan.size(BEHIND_LOCK)
    subject.worker.start()
    locked, other = subject.add(subject.a), subject.add(subject.b)
    alone = _retried(subject, other)
    control.set(keys.lock(locked), "somebody", ex=600)
    for number in range(count):
        subject.a.update(locked, f"text {number}")
    # The release before returns them to their inbox again and again.
    until(lambda: control.zcard(keys.delayed) > count * 0.6, "the jobs were not put aside")
    return {"alone": alone, "seconds": _retried(subject, other)}


def _retried(subject: Subject, memory_id: str) -> float:
    keys, control = subject.keys, subject.control
    control.set(keys.lock(memory_id), "somebody", ex=600)
    job = subject.b.update(memory_id, f"another {time.monotonic_ns()}")
    until(lambda: control.hget(keys.job(job.id), "status") == b"retrying", "the job was not put aside")
    control.delete(keys.lock(memory_id))
    return _took(job)


def return_of_due_jobs(subject: Subject, plan: Plan) -> dict[str, float]:
    """Jobs a second after an outage: all of them were put aside and are due when the worker comes back."""
    keys, control, count = subject.keys, subject.control, plan.size(DUE)
    for number in range(count):
        subject.a.add(f"fact {number}", user_id="ana", infer=False)
    shards: Any = control.smembers(keys.shards)
    for raw in shards:
        shard = raw.decode()
        entries: Any = control.xrange(keys.inbox(shard))
        control.zadd(keys.delayed, {f"{shard}:{fields[b'job'].decode()}": 1 for _, fields in entries})
        control.delete(keys.inbox(shard), keys.wakeup(shard))
    subject.worker.start()
    until(lambda: control.zcard(keys.delayed) < count, "nothing came back", LONG_PATIENCE)
    began = time.perf_counter()
    until(lambda: control.xlen(keys.feed) >= count, "not all of them were done", LONG_PATIENCE)
    return {"rate": count / (time.perf_counter() - began)}


def _took(job: Any) -> float:
    """Seconds until a job that was just submitted has succeeded."""
    began = time.perf_counter()
    job.wait(LONG_PATIENCE, raise_on_failure=True)
    return time.perf_counter() - began


EXPERIMENTS = {
    "history": measured(history_bytes),
    "erase-letters": measured(erasure_beside_letters),
    "erase-versions": measured(erasure_of_versions),
    "behind-batch": measured(few_behind_a_batch),
    "behind-adds": measured(add_behind_conversations),
    "behind-lock": measured(retry_behind_a_lock),
    "due": measured(return_of_due_jobs),
}
