"""The scenarios of workers, provider and writers; each takes a folder, a seed and a size, and returns its report."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from emendo_client import MemoryClient
from emendo_client.testing import Fault
from emendo_client.testing.openai_server.faults import KINDS
from emendo_config.project_limits import LANES, chunk_window
from tests.chaos import outages
from tests.chaos.damaged_records import damaged_records
from tests.chaos.failover import failover
from tests.chaos.full_redis import full_redis
from tests.chaos.invariants import Invariants, Report
from tests.chaos.mixed_releases import mixed_releases
from tests.chaos.sentinel_failover import sentinel_failover
from tests.chaos.storm import JOBS_A_DISASTER, Storm, nobody, together
from tests.chaos.traffic import Ask, Traffic
from tests.support.patience import LONG_PATIENCE

# Answers that no later attempt changes: the key and the request are wrong.
PERMANENT_FAULTS = {"bad_request", "unauthorized"}
POISON = "POISON-PILL"
# Loaded by the worker's interpreter at start: a job with this text kills its process, as a crashing C library would.
_SITE = f"""
import os, signal
from emendo_workers.memories import apply
real = apply.apply_operations
def deadly(operations, services, **more):
    if any(operation.text == {POISON!r} for operation in operations):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(operations, services, **more)
apply.apply_operations = deadly
"""
# One batch in so many requests.
EVERYTHING = "uuuuumbdrv" * 3 + "UD"
# None of these may fail. If two live workers do the same work, one may find a memory deleted, and the other one finds
# it restored a moment later. A failure is no commit, so nothing stops the first from saying that it failed.
HARMLESS = "uuuuumbrv" * 3 + "U"


def workers_killed(directory: Path, seed: int, jobs: int) -> Report:
    """Workers are killed with SIGKILL every 1-2 s and started again, with the default leases."""
    with Storm("workers-killed", directory, seed).running(workers=3) as storm:
        storm.provider.latency_ms = 20
        ids = storm.traffic.add(max(40, jobs // 25))
        with storm.happening(storm.kill_a_worker, most=jobs / JOBS_A_DISASTER):
            storm.traffic.flow(ids, jobs, EVERYTHING, rate=100)
            storm.wait()
        return storm.check()


def provider_failing(directory: Path, seed: int, jobs: int) -> Report:
    """The provider fails 30 % of its requests in every way that may pass; a quota counts, since it is filled up."""
    settings = {"retry_max": 5.0, "embedding_timeout": 1.0}  # or a quota alone would take minutes
    with Storm("provider-failing", directory, seed, **settings).running(workers=2) as storm:
        ids = storm.traffic.add(max(20, jobs // 25))
        kinds = [kind for kind in KINDS if kind not in PERMANENT_FAULTS]
        # Faults are tried in turn, so each one's rate is of what the earlier ones let pass.
        share = 0.3 / len(kinds)
        rates = [share / (1 - share * turn) for turn in range(len(kinds))]
        storm.provider.faults.add(
            *(Fault(kind, rate=rate, retry_after=0.2, silence=3.0) for kind, rate in zip(kinds, rates, strict=True))
        )
        storm.traffic.flow(ids, jobs, EVERYTHING)
        storm.wait()
        struck = [request.fault for request in storm.provider.requests if request.fault is not None]
        storm.report.faults = len(struck)
        storm.report.notes.append(
            f"{len(set(struck))} of {len(kinds)} kinds in {len(storm.provider.requests)} requests"
        )
        return storm.check()


def slow_provider(directory: Path, seed: int, jobs: int) -> Report:
    """The provider takes longer than a lease: it is renewed, so nobody else begins the same work meanwhile."""
    settings = {"lease": 1.0, "ring_ttl": 0.5, "sweep_interval": 0.2}
    with Storm("slow-provider", directory, seed, **settings).running(workers=2) as storm:
        ids = storm.traffic.add(20)
        storm.provider.clear_requests()
        storm.provider.latency_ms = 3_000
        storm.traffic.flow(ids, jobs, "uuub")
        storm.wait()
        storm.report.faults = len(storm.provider.requests)
        with storm.raw() as control:
            for submission in storm.traffic.submissions:
                attempts = int(control.hget(storm.keys.job(submission.job_id), "attempts"))
                if attempts > 1:
                    storm.report.blame("wrong", f"job {submission.job_id} took {attempts} attempts")
        texts = [text for request in storm.provider.requests for text in request.inputs]
        if len(texts) > len(set(texts)):
            storm.report.blame("wrong", f"{len(texts) - len(set(texts))} texts were paid for twice")
        return storm.check()


def one_memory(directory: Path, seed: int, jobs: int) -> Report:
    """64 threads update one memory; then all want the same version, again and again, and one of them gets it."""
    with Storm("one-memory", directory, seed).running(workers=2) as storm:
        (memory_id, *_) = storm.traffic.add(20)
        each = max(1, jobs // 64)

        def write(thread: int) -> None:
            for number in range(each):
                storm.traffic.update(memory_id, f"thread {thread}, update {number}", {f"t{thread}": number})

        together([lambda thread=thread: write(thread) for thread in range(64)])
        storm.wait()
        missing = {f"t{thread}" for thread in range(64)} - storm.client.get(memory_id).metadata.keys()
        if missing:
            storm.report.blame("lost", f"{len(missing)} threads' updates", len(missing))
        for turn in range(5):
            _compete(storm, memory_id, turn)
        storm.report.faults = 64 * (each + 5)  # each one is in the way of the others
        return storm.check()


def _compete(storm: Storm, memory_id: str, turn: int) -> None:
    """64 writers of one version: exactly one wins it."""
    start, before = storm.client.get(memory_id).version, len(storm.traffic.submissions)
    together(
        [
            lambda rival=rival: storm.traffic.update(memory_id, f"{turn}: rival {rival}", expected_version=start)
            for rival in range(64)
        ]
    )
    rivals = storm.traffic.submissions[before:]
    storm.wait(rivals)
    winners = sum(storm.client.job(rival.job_id).status() == "succeeded" for rival in rivals)
    if winners != 1 or storm.client.get(memory_id).version != start + 1:
        storm.report.blame("wrong", f"{winners} winners of version {start}")


def races(directory: Path, seed: int, jobs: int) -> Report:
    """Updates, deletes and restores race on few memories, some of which are erased: nothing comes back by itself."""
    with Storm("update-delete-restore", directory, seed).running(workers=3) as storm:
        ids = storm.traffic.add(20)[:12]
        with storm.happening(storm.kill_a_worker, most=jobs / JOBS_A_DISASTER):
            streams = 4
            together(
                [
                    lambda: storm.traffic.flow(
                        ids, jobs // streams, "ubdrrv" * 5 + "UD", rate=30, batch=(5, 20), doomed=ids[:6]
                    )
                ]
                * streams
            )
            storm.wait()
        return storm.check()


def poison(directory: Path, seed: int, jobs: int) -> Report:
    """A job, and an item of a batch, that kill their worker each time are dead-lettered; all others succeed."""
    site = directory / "site"
    site.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(_SITE)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{site}{os.pathsep}{before}"
    settings = {"lease": 2.0, "ring_ttl": 1.0, "sweep_interval": 0.2, "chunk_items": 10, "poison_deliveries": 3}
    try:
        with Storm("poison", directory, seed, **settings).running(workers=2) as storm:
            return _poisoned(storm, jobs)
    finally:
        os.environ["PYTHONPATH"] = before


def _poisoned(storm: Storm, jobs: int) -> Report:
    storm.may_die = True
    ids = storm.traffic.add(40)
    single = storm.traffic.update(ids[0], POISON)
    asks = [Ask("update", memory_id, text=f"item for {memory_id}") for memory_id in ids]
    asks[15] = Ask("update", ids[15], text=POISON)  # the second of four chunks
    batch = storm.client.batch_update([{"memory_id": ask.memory_id, "text": ask.text} for ask in asks])
    storm.traffic.note(batch, *asks)
    with storm.happening(storm.revive_workers, pause=(0.2, 0.4)):
        storm.traffic.flow(ids, jobs, "um")
        storm.wait()
    storm.report.faults = storm.deaths
    bound = storm.settings.poison_deliveries + 1  # the last one only dead-letters it
    with storm.raw() as control:
        for record, status in (
            (single.id, b"failed"),
            (f"{batch.id}:1", b"failed"),
            (batch.id, b"partially_succeeded"),
        ):
            found, attempts = control.hmget(storm.keys.job(record), "status", "attempts")
            if found != status or int(attempts) > bound:
                storm.report.blame("wrong", f"{record} is {found} after {attempts} attempts")
    in_chunk = set(asks[10:20])
    return storm.check(pardon=lambda ask, code: code == "POISON" and (ask in in_chunk or ask.text == POISON))


def lock_thief(directory: Path, seed: int, jobs: int) -> Report:
    """Locks and wake-up keys are stolen and deleted at random; the version check keeps it safe."""
    settings = {"ring_ttl": 1.0, "sweep_interval": 0.2}
    settings["poison_deliveries"] = 1_000  # a stolen shard looks like a dead worker
    with Storm("lock-thief", directory, seed, **settings).running(workers=3) as storm:
        ids = storm.traffic.add(20)
        storm.provider.latency_ms, storm.provider.jitter_ms = 10, 400  # the window in which a theft matters
        connection = storm.raw()

        def steal() -> None:
            pipeline = connection.pipeline(transaction=False)
            for key in [storm.keys.lock(memory_id) for memory_id in storm.random.sample(ids, 5)]:
                if storm.random.random() < 0.2:
                    pipeline.set(key, f"thief-{uuid.uuid4().hex}", px=30)
                else:
                    pipeline.delete(key)
            shards = [name.decode() for name in sorted(connection.smembers(storm.keys.shards))]
            for shard in storm.random.sample(shards, min(3, len(shards))):
                how = storm.random.choice(("delete", "delete", "claim", "ring"))
                if how == "delete":
                    pipeline.delete(storm.keys.wakeup(shard))
                else:
                    owner = "drain:thief:1" if how == "claim" else "rung:thief"
                    pipeline.set(storm.keys.wakeup(shard), owner, px=100)
            pipeline.execute()

        with connection, storm.happening(steal, pause=(0.005, 0.03)):
            flows = [lambda: storm.traffic.flow(ids, jobs // 2, HARMLESS, rate=75, batch=(5, 20))] * 2
            together(flows)
            storm.wait(max_wait=10.0)
        return storm.check()


def competing_tenants(directory: Path, seed: int, jobs: int) -> Report:
    """One project imports far more than its window while workers are killed; another one's work passes it."""
    with (
        Storm("competing-tenants", directory, seed, chunk_items=10).running(workers=2) as storm,
        MemoryClient(storm.settings, project="flood") as flood,
    ):
        ids = storm.traffic.add(40)
        window = chunk_window(storm.settings) * storm.settings.chunk_items
        texts = [f"flood {number}" for number in range(max(10 * jobs, 8 * window))]
        imported = flood.batch_add([{"messages": text, "user_id": "ana"} for text in texts], infer=False)
        before = imported.progress().done
        batch = storm.client.batch_update([{"memory_id": memory_id, "text": "passes"} for memory_id in ids[:5]])
        storm.traffic.note(batch, *(Ask("update", memory_id, text="passes") for memory_id in ids[:5]))
        batch.wait(LONG_PATIENCE, raise_on_failure=True)
        passed = imported.progress().done - before
        storm.report.notes.append(f"{passed} of {len(texts)} items of the flood before the other batch's end")
        if passed > 6 * window:
            storm.report.blame("wrong", f"a batch of 5 waited for {passed} items of another project")
        with storm.happening(storm.kill_a_worker, most=jobs / JOBS_A_DISASTER):
            storm.traffic.flow(ids, jobs, "uuubm", rate=50, batch=(5, 20))
            storm.wait()
        results = imported.wait(LONG_PATIENCE).results
        flooding = Traffic(flood, seed)
        added = zip(results, texts, strict=True)
        flooding.note(imported, *(Ask("add", item.memory_id, text=text) for item, text in added))
        storm.check()
        with storm.raw() as control:
            for lane, project in itertools.product(LANES, ("flood", "default")):
                if control.exists(storm.keys.admitted(lane, project), storm.keys.open_jobs(project)):
                    storm.report.blame("wrong", f"the account of {project} is not empty")
        return Invariants(flood, storm.report, nobody).check(flooding.submissions)


SCENARIOS: dict[str, tuple[Callable[[Path, int, int], Report], int, int]] = {
    # name: (scenario, jobs in full, jobs in the test suite)
    "workers-killed": (workers_killed, 5_000, 320),
    "provider-failing": (provider_failing, 2_000, 200),
    "slow-provider": (slow_provider, 200, 20),
    "redis-killed": (outages.redis_killed, 3_000, 400),
    "one-memory": (one_memory, 3_200, 640),
    "update-delete-restore": (races, 2_000, 280),
    "poison": (poison, 500, 100),
    "broker-unreachable": (outages.broker_unreachable, 400, 16),
    "redis-unreachable": (outages.redis_unreachable, 100, 8),
    "broker-flushed": (outages.broker_flushed, 2_000, 300),
    "lock-thief": (lock_thief, 2_000, 280),
    "failover": (failover, 2_000, 400),
    "sentinel-failover": (sentinel_failover, 1_000, 250),
    "full-redis": (full_redis, 1_000, 200),
    "damaged-records": (damaged_records, 2_000, 240),
    "competing-tenants": (competing_tenants, 2_000, 120),
    "mixed-releases": (mixed_releases, 2_000, 250),
}
