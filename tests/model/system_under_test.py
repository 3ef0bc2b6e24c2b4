"""The real store and the reference model side by side: everything is done to both, then they are compared.

The model does not foresee the schedule: which jobs a dying worker still committed, what a fault struck. Job results
and histories tell it what ended and in which order, and it foresees the outcome.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.errors import ConflictError, JobError, JobTimeoutError, MemoryNotFoundError
from emendo_client.requests.operations import new_memory_id
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_config.queues import INTERACTIVE
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.services import Services
from tests.model import compare
from tests.model.migrations import Reembedding, rebuild_store
from tests.model.reembedding_control import attempts_told, landing_on
from tests.model.reference import CANCELLED, REFUSALS, Ask, Entry, ReferenceJob, ReferenceStore, Refusal
from tests.support.deaths import Killed, die_at
from tests.support.intake import shard_of_job, shard_of_memory

# The provider never embeds a text with this in it.
REFUSED = "unspeakable"
PROJECTS = ("north", "south")
_FAR = 1 << 50


class SystemUnderTest:
    """One example's projects, their memories and jobs; `store` is the model of them."""

    def __init__(self, services: Services, provider: OpenAIServer) -> None:
        self.services = services
        self.store = ReferenceStore()
        self._provider = provider
        salt = uuid.uuid4().hex  # the Redis is shared with the examples before
        self.clients = {name: MemoryClient(services.settings, project=f"{name} {salt}") for name in PROJECTS}
        self.jobs: list[str] = []
        self.memories: list[str] = []
        self.owners: dict[str, str] = {}
        self._shards: dict[str, str] = {}
        self.shards = [str(number) for number in range(services.settings.inbox_shards)]
        self._aside: list[str] = []
        self._cancelling: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._clock = itertools.count()
        self.reembedding = Reembedding(services)
        self._all_is_well()

    def close(self, *, failed: bool) -> None:
        """Takes the memories away, which the next example's re-embeddings would go by; everything, when one failed."""
        self._provider.faults.clear()
        self.reembedding.close()
        keys, data = self.services.keys, self.services.data
        if failed:
            rebuild_store(self.services)
        elif self.memories:
            data.unlink(*(key(memory_id) for memory_id in self.memories for key in (keys.memory, keys.history)))
        for client in self.clients.values():
            client.close()

    # Callers.

    def add(self, project: str, shard: int, texts: Sequence[str], *, key: str | None, **more: Any) -> None:
        """Adds messages as they are; `more`: the scope's ids and metadata."""
        messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
        messages[0] |= {"name": "ana"}
        scope = {name: value for name, value in more.items() if name != "metadata" and value is not None}
        metadata = {name: value for name, value in (more["metadata"] or {}).items() if value is not None}
        asks = [
            Ask("add", "", text, metadata, scope, message.get("name"), message["role"])
            for text, message in zip(texts, messages, strict=True)
        ]

        def submit() -> Job:
            with landing_on([(shard + n) % len(self.shards) for n in range(len(messages))], self.shard_of):
                return self.clients[project].add(messages, infer=False, idempotency_key=key, **more)

        job = self._submit(project, "add", asks, key, submit)
        if job is not None:
            assert self._shards[job.id] == self.shards[shard]
            model = self.store.jobs[job.id]
            model.asks = [replace(ask, memory_id=new_memory_id(job.id, n)) for n, ask in enumerate(model.asks)]
            self.memories += [ask.memory_id for ask in model.asks]
            self.owners |= {ask.memory_id: project for ask in model.asks}

    def change(self, project: str, ask: Ask, key: str | None) -> None:
        """An update, delete or restore."""
        client = self.clients[project]
        names = {
            "update": ("text", "metadata", "actor_id", "role", "expected_version", "on_conflict"),
            "delete": ("actor_id", "expected_version"),
            "restore": ("version", "actor_id"),
        }[ask.op]
        given = {name: getattr(ask, name) for name in names}
        call = getattr(client, ask.op)
        self._submit(project, ask.op, [ask], key, lambda: call(ask.memory_id, idempotency_key=key, **given))

    def _submit(
        self, project: str, kind: str, asks: list[Ask], key: str | None, submit: Callable[[], Job]
    ) -> Job | None:
        """The job, unless the idempotency key is known already."""
        request = [kind, [ask.as_request() for ask in asks]]
        first = self.store.first_job(project, key, request)
        if first is not None and not first[1]:
            with pytest.raises(ConflictError) as conflict:
                submit()
            assert conflict.value.error_code == "IDEMPOTENCY_KEY_REUSED"
            assert conflict.value.details == {"job_id": first[0]}
            return None
        job = submit()
        if first is not None:
            assert job.id == first[0], "the same key and request must give the first job"
            return None
        assert job.id not in self.store.jobs
        info = job.info()
        assert (info.kind, info.status) == (kind, "queued")
        self.store.accept(ReferenceJob(job.id, project, kind, asks, info.submitted_at), key, request)
        self.jobs.append(job.id)
        self._shards[job.id] = shard_of_job(self.services, job)
        return job

    def cancel(self, job_id: str) -> None:
        job, handle = self.store.jobs[job_id], self._handle(job_id)
        before = handle.status()
        # It began, and an older attempt may stand before its commit: only the next attempt can answer.
        if not before.is_final and self._has_begun(job_id):
            with pytest.raises(JobTimeoutError):
                handle.cancel(timeout=0)
            self._cancelling.add(job_id)
            if job_id in self._aside:  # it is told at once
                self._aside.remove(job_id)
                Sweeper(self.services).sweep()
            return
        cancelled = handle.cancel()
        assert cancelled == (before in ("queued", "cancelled"))
        if cancelled:
            job.cancelled = True

    def _has_begun(self, job_id: str) -> bool:
        return bool(self.services.control.hexists(self.services.keys.job(job_id), "started"))

    def replay_or_discard(self, job_id: str, *, replay: bool, project: str) -> None:
        job, client = self.store.jobs[job_id], self.clients[project]
        call = client.replay if replay else client.discard
        if project != job.project or not job.is_dead_letter:
            with pytest.raises(JobError) as refused:
                call(job_id)
            assert refused.value.error_code == ("JOB_NOT_FOUND" if project != job.project else "JOB_NOT_DEAD")
        else:
            call(job_id)
            if replay:
                self.store.replay(job)
                assert self._handle(job_id).status() == "queued"
            else:
                job.discarded = True
        self._compare_dead_letters()

    def set_rules(self, project: str, instructions: str | None, categories: list[str] | None) -> None:
        self.store.set_rules(project, instructions, categories)
        answer = self.clients[project].set_project_rules(instructions=instructions, categories=categories)
        assert answer == self.clients[project].project_rules()
        for name, client in self.clients.items():
            rules = client.project_rules()
            assert (rules.instructions, rules.categories) == self.store.rules.get(name, ("", []))

    def shard_of(self, memory_id: str) -> int:
        return self.shards.index(shard_of_memory(self.services, memory_id))

    # Workers.

    def work(self, shards: Sequence[int], faults: Sequence[Fault] = (), stalled: str | None = None) -> None:
        """Drains shards one after another.

        Args:
            shards: in this order.
            faults: of the provider while it lasts.
            stalled: a memory another worker has the lock of, all the time.
        """
        self._provider.faults.add(*faults)
        lock = self.services.keys.lock(stalled or "nothing")
        if stalled:
            self.services.data.set(lock, "another worker", px=60_000)
        with attempts_told(self._note_attempts):
            for shard in shards:
                Drain(self.services, self.shards[shard]).run()
        if stalled:
            self.services.data.delete(lock)
        stopped = self.services.faults.blocks(INTERACTIVE)
        self._all_is_well()
        self._freeze()
        self._observe(shards, struck=bool(faults), stalled=stalled, stopped=stopped)

    def die(self, shard: int, step: int, *, after: bool) -> None:
        """Drains a shard and dies at the step-th round trip; then the dead worker's leases run out."""
        died = False
        with pytest.MonkeyPatch.context() as patch, attempts_told(self._note_attempts):
            die_at(patch, step, after=after)
            try:
                Drain(self.services, self.shards[shard]).run()
            except Killed:
                died = True
        keys, data, control = self.services.keys, self.services.data, self.services.control
        control.delete(keys.wakeup(self.shards[shard]))
        for memory_id in self.memories:
            data.delete(keys.lock(memory_id))
        self._freeze()
        self._observe([shard], died=died)

    def bring_back(self, picked: Sequence[int]) -> None:
        """The time of some delayed jobs has come, in this order."""
        chosen = [self._aside[number % len(self._aside)] for number in picked] if self._aside else []
        chosen = list(dict.fromkeys(chosen))
        control, keys = self.services.control, self.services.keys
        if chosen:
            due = {f"{self._shards[job_id]}:{job_id}": place for place, job_id in enumerate(chosen)}
            assert None not in control.zmscore(keys.delayed, list(due)), "a job put aside must be delayed"
            control.zadd(keys.delayed, due, xx=True)
        Sweeper(self.services).sweep()
        self._aside = [job_id for job_id in self._aside if job_id not in chosen]

    def re_embed(self, steps: int | None) -> None:
        """Takes steps of the re-embedding that is under way; that they leave the rest alone is seen in the end."""
        self.reembedding.take_steps(steps)
        self._compare_spaces()

    def settle(self) -> None:
        """Works until nothing is left to work; everything accepted must be final then."""
        self.reembedding.finish()
        for _ in range(self.services.settings.max_attempts + 1):
            self.bring_back(range(len(self._aside)))
            self.work(range(len(self.shards)))
            if not self._waiting():
                break
        assert not self._waiting()
        assert not self._aside
        for project, client in self.clients.items():
            listed = {info.job_id: info.status.value for info in client.jobs(limit=1_000)}
            expected = {job.id: job.status for job in self.store.jobs.values() if job.project == project}
            assert listed == expected, compare.differences(listed, expected)
        self._compare_dead_letters()
        for memory_id in self.memories:
            self.compare_memory(memory_id)
        self._compare_spaces()

    def forget(self) -> None:
        """Gives the dead letters up: all examples share one list of them."""
        for project, client in self.clients.items():
            for job_id in self.store.dead_letters(project):
                client.discard(job_id)

    def _note_attempts(self, jobs: Sequence[str]) -> None:
        """Keeps for each job when its last attempt began."""
        began, prefix = next(self._clock), self.services.keys.job("")
        self._attempts.update((job.removeprefix(prefix), began) for job in jobs)

    def _freeze(self) -> None:
        # Time stands still: what was put aside comes back when a rule says so, not when the clock does.
        control, delayed = self.services.control, self.services.keys.delayed
        members = control.zrange(delayed, 0, -1)
        if members:
            control.zadd(delayed, dict.fromkeys(members, _FAR), xx=True)

    def _all_is_well(self) -> None:
        self._provider.faults.clear()
        self._provider.faults.add(Fault("bad_request", rate=1.0, match=REFUSED))
        self.services.faults.look()  # as a worker does every few seconds

    # Outcomes.

    def _waiting(self, shards: Sequence[int] | None = None) -> list[ReferenceJob]:
        jobs = (job for job in self.store.jobs.values() if job.status == "waiting")
        return [job for job in jobs if shards is None or self._shards[job.id] in [self.shards[each] for each in shards]]

    def _observe(
        self,
        shards: Sequence[int],
        *,
        struck: bool = False,
        stalled: str | None = None,
        died: bool = False,
        stopped: bool = False,
    ) -> None:
        """Learns what ended, lets the model decide the same, and compares.

        A drain that died, or stopped for a fault of its worker, leaves jobs in their inbox.
        """
        jobs = self._waiting(shards)
        infos = {job.id: self._handle(job.id).info() for job in jobs}
        touched = dict.fromkeys(ask.memory_id for job in jobs for ask in job.asks)
        for memory_id in touched:
            self._decide(memory_id, jobs, infos, struck=struck)
        for job in jobs:
            info = infos[job.id]
            if info.status == "retrying" and not died:  # a dying drain puts nothing aside: the provider was well
                if job.id not in self._aside:
                    excused = (struck and any(self._needs_provider(ask) for ask in job.asks)) or (
                        stalled in [ask.memory_id for ask in job.asks]
                    )
                    assert excused, f"put aside for no reason: {job} {info}"
                    self._aside.append(job.id)
            elif not info.status.is_final:
                assert died or stopped, f"left behind: {job} {info}"
            else:
                self._compare_result(job)
        for memory_id in touched:
            self.compare_memory(memory_id)

    def _needs_provider(self, ask: Ask) -> bool:
        # A change of any kind gives a memory the vector of another space that it lacks.
        return ask.sets_text or self.reembedding.spaces.are_changing

    def _decide(self, memory_id: str, jobs: list[ReferenceJob], infos: dict[str, Any], *, struck: bool) -> None:
        """Everything decided about one memory since the last look: attempt by attempt, each in submission order."""
        known = self.store.memories.get(memory_id)
        entries = self._history(memory_id)[known.version if known else 0 :]
        recorded = {entry.job_id: entry.version for entry in entries}
        decided = []
        for job, item in [(each, item) for each in jobs for item in range(len(each.asks))]:
            info = infos[job.id]
            if job.asks[item].memory_id != memory_id or job.results[item] is not None:
                continue
            result = info.results[item] if info.status.is_final and info.results else None
            if info.status == "cancelled" and job.id not in recorded:
                assert job.id in self._cancelling, f"nobody cancelled it: {job}"
                continue
            if result is None and job.id not in recorded:
                continue
            decided.append((self._attempts[job.id], job.submitted, job, item, result))
        decided.sort(key=lambda each: each[:2])
        order = [job.id for _, _, job, _, _ in decided if job.id in recorded]
        assert order == list(recorded), f"applied out of order: {list(recorded)}, expected {order}"
        for _, _, job, item, result in decided:
            code = result.error["code"] if result is not None and result.error else None
            if code in (None, *REFUSALS):
                happened = self.store.decide(job, item)
                late = job.id in self._cancelling and isinstance(happened, Entry)
                assert not late, f"changed something after it was cancelled: {job}"
            elif code == CANCELLED:
                assert job.id in self._cancelling, f"nobody cancelled it: {job}"
                job.results[item] = Refusal(code)
            else:
                text = job.asks[item].text or ""
                refused = REFUSED in text or job.asks[item].version is not None
                assert self._needs_provider(job.asks[item]), f"it needs no provider: {code} {job}"
                assert refused or struck, f"the provider was well: {code} {job}"
                job.results[item] = Refusal(code)

    def _compare_result(self, job: ReferenceJob) -> None:
        result = self._handle(job.id).wait(timeout=1)
        if result.status == "cancelled":
            job.cancelled = True
            return
        assert None not in job.results
        job.recorded = True
        self._cancelling.discard(job.id)
        assert result.status == job.status, f"{result} is not {job}"
        assert [item.memory_id for item in result.results] == [ask.memory_id for ask in job.asks]
        for item, expected in zip(result.results, job.results, strict=True):
            if isinstance(expected, Refusal):
                assert (item.event, item.version) == (None, None)
                assert item.error["code"] == expected.code, f"{item} is not {expected} of {job}"
            else:
                assert isinstance(expected, Entry)
                assert item.error is None, f"{item} is not {expected}"
                assert (item.event, item.version, item.memory, item.previous_memory) == (
                    (expected.event, expected.version, expected.reads, expected.previously)
                ), f"{item} is not {expected}"
        if job.status == "failed":
            assert result.error is not None

    def _compare_dead_letters(self) -> None:
        for project, client in self.clients.items():
            letters = {info.job_id for info in client.dead_letters(limit=1_000)}
            assert letters == self.store.dead_letters(project)

    # Reads, compared.

    def _compare_spaces(self) -> None:
        self.reembedding.compare_spaces()
        self.reembedding.compare_vectors(list(self.store.memories.values()))

    def _history(self, memory_id: str) -> list[Any]:
        for client in self.clients.values():
            with contextlib.suppress(MemoryNotFoundError):
                return client.history(memory_id)
        return []

    def compare_memory(self, memory_id: str) -> None:
        """History and present state of one memory, as its own project and as the other one sees them."""
        model = self.store.memories.get(memory_id)
        for project, client in self.clients.items():
            if model is None or model.project != project:
                for read in (client.get, client.history):
                    with pytest.raises(MemoryNotFoundError):
                        read(memory_id)
                continue
            compare.history(client.history(memory_id), model)
            compare.state(client.get(memory_id, include_deleted=True), model)
            if model.is_deleted:
                with pytest.raises(MemoryNotFoundError):
                    client.get(memory_id)
            else:
                compare.state(client.get(memory_id), model)
            assert REFUSED not in model.text, "a text without a vector is the current one"
            self.reembedding.compare_vectors([model])

    def texts(self, project: str) -> list[str]:
        """The texts that a search finds now."""
        return sorted({memory.text for memory in self.store.find(project).values()})

    def compare_listing(self, project: str, scope: dict[str, str], filters: dict[str, Any] | None, size: int) -> None:
        expected = self.store.find(project, scope, filters)
        compare.listing(self.clients[project], expected, scope=scope, filters=filters, size=size)

    def compare_search(self, project: str, query: str, scope: dict[str, str], filters: dict[str, Any] | None) -> None:
        expected = self.store.find(project, scope, filters)
        compare.search(self.clients[project], expected, query=query, scope=scope, filters=filters)

    def _handle(self, job_id: str) -> Job:
        return self.clients[self.store.jobs[job_id].project].job(job_id)
