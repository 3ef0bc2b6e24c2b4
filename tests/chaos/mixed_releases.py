"""The scenario of mixed releases: clients and workers of this release and of an older one share a store, both ways.

The older release comes out of git and runs on this environment's packages. It is told by PYTHONPATH.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from emendo_client.testing.worker import WorkerProcess, environment
from emendo_config import Settings
from tests.chaos.invariants import Invariants, Report
from tests.chaos.old_client import shown
from tests.chaos.storm import Storm, together
from tests.chaos.traffic import Traffic
from tests.support.patience import LONG_PATIENCE

# The release before this one.
OLD_RELEASE = "f2365b701c68b6084988f06e6cb9e74d8efcc8be"
EVERYTHING = "uuuumbdrv" * 3 + "UD"
# These need no place in a project's window, which older workers do not know.
SINGLE = "uuuumbdrv"
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("config", "api_client", "workers")
# The older release has no `python -m emendo_workers`, which `WorkerProcess` calls.
_ITS_COMMAND = """import sys
from celery.__main__ import main
sys.argv[1:1] = ["-A", "emendo_workers.app"]
main()
"""
# Both releases read these in the same way. The older one does not find the text before a change.
MEMORY = ("id", "memory", "metadata", "version", "hash", "is_deleted", "created_at", "updated_at")
HISTORY = ("version", "event", "new_memory", "new_metadata", "job_id", "created_at", "updated_at", "is_deleted")
# Failures that the old release makes no dead letters of.
_NO_OLD_LETTER = {"CANCELLED", "MEMORY_ERASED"}


class NoSuchReleaseError(Exception):
    """The repository does not have the older release; its text says why."""


class OldRelease:
    """The older release's packages in a folder."""

    def __init__(self, directory: Path) -> None:
        archive = subprocess.run(
            ["git", "-C", str(_ROOT), "archive", OLD_RELEASE, *_PACKAGES], capture_output=True, check=False
        )
        if archive.returncode:
            raise NoSuchReleaseError(f"the repository has no commit {OLD_RELEASE[:7]}: is it a shallow clone?")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(directory, filter="data")
        (directory / "workers" / "emendo_workers" / "__main__.py").write_text(_ITS_COMMAND)
        self.variables = {"PYTHONPATH": os.pathsep.join(str(directory / name) for name in _PACKAGES)}

    def worker(self, settings: Settings, log: Path) -> WorkerProcess:
        """A worker of it, to be started."""
        return WorkerProcess(settings, log, variables=self.variables)


class OldClient:
    """A client of the older release, in a process of its own; it has the methods that `Traffic` calls."""

    def __init__(self, release: OldRelease, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("old_client.py"))],
            env={**environment(settings), **release.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: _OldJob(self, self.call(name, *args, **kwargs))

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method; the answer as JSON values."""
        with self._lock:
            print(json.dumps([name, args, kwargs]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the older release's client ended at {name}")
        return json.loads(answer)


class _OldJob:
    def __init__(self, client: OldClient, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def wait(self, timeout: float, *, raise_on_failure: bool) -> Any:
        result = self._client.call("wait", self.id, timeout, raise_on_failure=raise_on_failure)
        return SimpleNamespace(results=[SimpleNamespace(**item) for item in result["results"]])


def mixed_releases(directory: Path, seed: int, jobs: int) -> Report:
    """Clients of both releases write all the time while the workers are upgraded, and then rolled back."""
    release = OldRelease(directory / "older")
    settings = {"chunk_items": 5, "project_window_chunks": 2, "lease": 3.0, "ring_ttl": 1.5, "sweep_interval": 0.2}
    with (
        Storm("mixed-releases", directory, seed, **settings).running(workers=0) as storm,
        OldClient(release, storm.settings) as client,
    ):
        storm.provider.latency_ms, storm.provider.jitter_ms = 10, 100
        logs = (directory / f"worker-{number}.log" for number in itertools.count())
        old = [release.worker(storm.settings, next(logs)) for _ in range(2)]
        new = [WorkerProcess(storm.settings, next(logs)) for _ in range(2)]
        storm.join(old)
        theirs = Traffic(client, seed + 1, first=1_000_000)
        ids = theirs.add(20) + storm.traffic.add(20)

        def load(kinds: str = EVERYTHING) -> None:
            flows = [(theirs, EVERYTHING), (storm.traffic, kinds)]
            together([lambda t=t, k=k: t.flow(ids, jobs // 10, k, rate=40) for t, k in flows])

        load()  # the older workers do what clients of both releases ask for
        together([load, lambda: storm.join(new)])
        together([load, lambda: _leave(storm, old)])
        load()
        again = [release.worker(storm.settings, next(logs))]
        together([load, lambda: storm.join(again)])
        _await_windows(storm)  # the older workers admit nothing
        together([lambda: load(SINGLE), lambda: _leave(storm, new)])
        storm.report.faults = 4
        storm.wait()
        _read_by_both(storm, client, ids)
        storm.traffic.submissions += theirs.submissions
        return storm.check(invariants=_BothReleases)


def _leave(storm: Storm, workers: list[WorkerProcess]) -> None:
    """One stops, and the other one is killed."""
    storm.leave(workers[:1], WorkerProcess.stop)
    storm.leave(workers[1:], WorkerProcess.kill)


def _await_windows(storm: Storm) -> None:
    """Waits until no lane has a window: an empty one is put away by newer workers only."""
    deadline = time.monotonic() + LONG_PATIENCE
    with storm.raw() as control:
        while control.scard(storm.keys.waiting_lanes) and time.monotonic() < deadline:
            threading.Event().wait(0.05)


def _read_by_both(storm: Storm, client: OldClient, ids: list[str]) -> None:
    """Both releases read the same of every memory and every job."""
    for memory_id in ids:
        for name, arguments, fields in (
            ("get", {"include_deleted": True}, MEMORY),
            ("history", {}, HISTORY),
        ):
            ours = getattr(storm.client, name)(memory_id, **arguments)
            theirs = client.call(name, memory_id, **arguments)
            if _part(shown(ours), fields) != _part(theirs, fields):
                storm.report.blame("wrong", f"{name} of {memory_id} differs between the releases")
    jobs = {info.job_id: info.status.value for info in storm.client.jobs(limit=1_000)}
    if jobs != {info["job_id"]: info["status"] for info in client.call("jobs", limit=1_000)}:
        storm.report.blame("wrong", "the lists of jobs differ between the releases")


def _part(read: Any, fields: tuple[str, ...]) -> Any:
    if isinstance(read, list):
        return [_part(each, fields) for each in read]
    return {name: read[name] for name in fields}


class _BothReleases(Invariants):
    """The invariants, where older workers make dead letters of refusals, in a list of their own."""

    # The older release's tags have another form; housekeeping writes them again after the upgrade.
    _excused = frozenset({"metadata_tags"})

    def _check_payload(self, record: dict[str, str]) -> None:
        codes = {item["error"]["code"] for item in json.loads(record.get("results", "[]")) if item.get("error")}
        is_old = self._control.zscore(self._keys.unsorted_dead, record["id"]) is not None
        if is_old != bool("payload" in record) or (is_old and not codes - _NO_OLD_LETTER):
            self._report.blame("wrong", f"{record['id']} ended with {codes}, listed as dead: {is_old}")
