"""An installation that is upgraded under load: `emendo …` processes of two releases, and callers of each."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import httpx2 as httpx
import redis

from emendo_client import MemoryClient
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.worker import environment
from emendo_config import Keys, Settings
from emendo_config.worker_process import WORKER_ENVIRONMENT
from tests.chaos.invariants import Invariants, Report, left_over
from tests.chaos.mixed_releases import OldClient, OldRelease
from tests.chaos.storm import nobody
from tests.chaos.traffic import Ask, Submission, Traffic
from tests.support.own_process import EMENDO, OwnProcess
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

# Python's clients write into the first project, those of HTTP into the second one. Users are erased in the third one.
PYTHON, HTTP, PERSONS = "default", "acme", "persons"
_API = "/api/v1"


class HttpClient:
    """A caller of the gateway, with the methods that `Traffic` calls."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def add(self, messages: Any, user_id: str, *, infer: bool) -> _HttpJob:
        return self._begin("POST", "/memories", {"messages": messages, "user_id": user_id, "infer": infer})

    def update(self, memory_id: str, text: Any = None, metadata: Any = None, **_: Any) -> _HttpJob:
        return self._begin("PATCH", f"/memories/{memory_id}", _said(text=text, metadata=metadata))

    def delete(self, memory_id: str, *, hard: bool = False, **_: Any) -> _HttpJob:
        return self._begin("DELETE", f"/memories/{memory_id}?hard={str(hard).lower()}")

    def batch_update(self, items: Sequence[dict[str, Any]], **_: Any) -> _HttpJob:
        return self._begin("POST", "/batches", {"items": [{"op": "update", **_said(**item)} for item in items]})

    def read(self, path: str, **headers: str) -> Any:
        return self._answer(self._http.get(f"{_API}{path}", headers=headers))

    def _begin(self, method: str, path: str, body: dict[str, Any] | None = None) -> _HttpJob:
        return _HttpJob(self, self._answer(self._http.request(method, f"{_API}{path}", json=body))["job_id"])

    @staticmethod
    def _answer(answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()


class _HttpJob:
    def __init__(self, client: HttpClient, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def wait(self, timeout: float, *, raise_on_failure: bool) -> Any:
        state = self._client.read(f"/jobs/{self.id}", Prefer=f"wait={min(timeout, 60):.0f}")
        assert state["status"] == "succeeded" or not raise_on_failure, state
        return SimpleNamespace(results=[SimpleNamespace(**item) for item in state["results"]])


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class Caller:
    """Adds, changes and deletes memories of its own until it is stopped; each of its requests has to succeed."""

    def __init__(self, project: str, client: Any, number: int) -> None:
        self.project = project
        self.client = client
        self.traffic = Traffic(client, number, first=number * 1_000_000)
        self.rounds = 0
        self.problem: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Waits until its last request is accepted."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._round()
                self.rounds += 1
        except BaseException as error:  # noqa: BLE001  # the test's to see
            self.problem = error

    def _round(self) -> None:
        traffic = self.traffic
        *kept, erased = traffic.add(5)
        traffic.flow(kept, 8, "uumbU", rate=10, batch=(2, 6))
        traffic.note(self.client.delete(kept[0]), Ask("delete", kept[0]))
        traffic.update(erased, f"last words of {erased}")
        traffic.note(self.client.delete(erased, hard=True), Ask("delete", erased, hard=True))


class _NoFailure(Invariants):
    """The invariants of requests that all have to succeed: nothing failed, so there is no dead letter."""

    # The older release's tags have another form; housekeeping writes them again after the upgrade.
    _excused = frozenset({"metadata_tags"})

    def _check_payload(self, record: dict[str, str]) -> None:
        if "payload" in record:
            self._report.blame("wrong", f"{record['id']} ended as {record.get('status')} and keeps its payload")

    def _is_right(self, *_: Any) -> bool:
        return False


class Installation:
    """One store with the processes of two releases, and the callers that write into it; a context manager.

    Attributes:
        workers, beat, gateway: the processes that run.
        callers: the threads that write.
        clients: one of this release for each project, which only reads.
    """

    def __init__(self, settings: Settings, directory: Path, older: OldRelease) -> None:
        self.settings = settings
        self.workers: list[OwnProcess] = []
        self.callers: list[Caller] = []
        self._older = older
        self._directory = directory
        self._port = free_port()
        self._count = 0
        self._submissions: dict[str, list[Submission]] = {PYTHON: [], HTTP: []}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.clients = {
            project: self._running.enter_context(MemoryClient(self.settings, project=project))
            for project in (*self._submissions, PERSONS)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for caller in self.callers:
            caller.stop()
        self._running.close()

    # Processes.

    def worker(self, *, old: bool) -> OwnProcess:
        """A worker that has said that it is ready, beside the others."""
        words = ("worker", "--concurrency", "4")
        process = self._start(words, lambda log: "worker ready" in log.read_text(), old=old)
        self.workers.append(process)
        return process

    def replace_worker(self, leaving: OwnProcess, *, old: bool) -> None:
        """SIGTERM, and one of the release that comes."""
        self.workers.remove(leaving)
        assert leaving.terminate() == 0
        self.worker(old=old)

    def start_beat(self, *, old: bool) -> None:
        folder = str(self._directory / "beat")
        self.beat = self._start(("beat", "--dir", folder), lambda log: "beat: Starting" in log.read_text(), old=old)

    def start_gateway(self, *, old: bool) -> None:
        words = ("gateway", "--port", str(self._port))
        self.gateway = self._start(words, lambda _: self._answers(), old=old)

    def replace_beat_and_gateway(self, *, old: bool) -> None:
        """SIGTERM stops them, and their successors take their folder and their port."""
        assert self.beat.terminate() == 0
        self.start_beat(old=old)
        # uvicorn ends by the signal itself, unless the command takes care of it.
        assert self.gateway.terminate() in ((0,) if old else (0, -15))
        self.start_gateway(old=old)

    def health(self) -> dict[str, Any]:
        """The health that the gateway tells."""
        return httpx.get(f"{self.url}/health").json()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of this release, to its end."""
        return subprocess.run(
            [*EMENDO, *words], env=environment(self.settings), capture_output=True, text=True, check=False
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def _start(self, words: tuple[str, ...], is_ready: Callable[[Path], bool], *, old: bool) -> OwnProcess:
        self._count += 1
        log = self._directory / f"{self._count}-{'old' if old else 'new'}-{words[0]}.log"
        variables = {**WORKER_ENVIRONMENT, **environment(self.settings), **(self._older.variables if old else {})}
        command = (EMENDO[0], "-m", "emendo_client.cli") if old else EMENDO
        process = OwnProcess((*command, *words), variables, log, lambda: is_ready(log))
        return self._running.enter_context(process)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live").is_success
        except httpx.TransportError:
            return False

    # Callers.

    def call(self, project: str, client: AbstractContextManager[Any]) -> None:
        """A further caller begins."""
        self._count += 1
        self.callers.append(Caller(project, self._running.enter_context(client), self._count))

    def old_client(self) -> OldClient:
        return OldClient(self._older, self.settings)

    def retire(self, caller: Caller) -> None:
        """A caller ends; what it asked for is still to be checked."""
        caller.stop()
        self.callers.remove(caller)
        assert caller.problem is None, repr(caller.problem)
        self.retired(caller.project, caller.traffic)

    def retired(self, project: str, traffic: Traffic) -> None:
        """Keeps what this traffic asked for, to be checked at the end."""
        self._submissions[project] += traffic.submissions

    def await_retired(self) -> None:
        """Waits until the jobs of all retired callers have ended, and wants each to have succeeded."""
        for project, submissions in self._submissions.items():
            for each in submissions:
                self.clients[project].job(each.job_id).wait(PATIENCE, raise_on_failure=True)

    def meet_load(self) -> None:
        """Waits until each caller has met the processes that run now: with adds, changes and deletes."""
        before = {caller: caller.rounds for caller in self.callers}
        until(
            lambda: all(caller.rounds > rounds + 1 or caller.problem for caller, rounds in before.items()),
            lambda: f"the callers stand still: {[worker.log.name for worker in self.workers]}",
            LONG_PATIENCE,
        )
        assert not [repr(caller.problem) for caller in self.callers if caller.problem]

    # Checks.

    def check(self) -> None:
        """Every accepted job has ended and succeeded; nothing is lost, doubled, missing or dead."""
        for caller in list(self.callers):
            self.retire(caller)
        self.await_retired()
        keys = Keys(self.settings.key_prefix)
        with redis.Redis.from_url(self.settings.control_url, protocol=2) as control:
            until(lambda: not left_over(control, keys), lambda: f"left over: {left_over(control, keys)}")
        self.check_dead_letters()
        for project, submissions in self._submissions.items():
            report = Report(f"{project} of the upgrade", 0, jobs=len(submissions))
            _NoFailure(self.clients[project], report, nobody).check(submissions)
            print(report)
            assert report.clean, report
            assert report.jobs > 0

    def check_dead_letters(self) -> None:
        """None is in the list of older releases, and none in that of a project, where housekeeping moves them."""
        for project, client in self.clients.items():
            assert client.dead_letters() == [], project
        assert self.clients[PYTHON].health().dead == 0

    def doctor(self) -> list[dict[str, Any]]:
        """The findings of `emendo doctor`."""
        done = self.run("doctor", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)
