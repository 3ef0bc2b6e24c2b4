"""Two gateways and two workers of this release are restarted one after the other, under HTTP load: nobody notices."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise

import httpx2 as httpx
import pytest

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.worker import WorkerProcess, environment
from tests.support.gateway import make_key
from tests.support.http_traffic import HttpTraffic
from tests.support.inferring import chat_at
from tests.support.own_process import EMENDO, OwnProcess
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

pytestmark = pytest.mark.slow  # a whole stack, and long polls


class _Gateway(OwnProcess):
    def __init__(self, settings, log) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        super().__init__((*EMENDO, "gateway", "--port", str(self.port)), environment(settings), log, self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live").is_success
        except httpx.TransportError:
            return False


class _Stream:
    """Follows a job's events, and comes back with `Last-Event-ID` when its gateway ends the stream."""

    def __init__(self, url: str, path: str, key: str) -> None:
        self._url = f"{url}{path}/events"
        self._headers = {"Authorization": f"Bearer {key}"}
        self.told: list[tuple[str, str]] = []
        self.connections = 0

    def follow(self) -> None:
        last, deadline = {}, time.monotonic() + LONG_PATIENCE
        while not self.told or self.told[-1][0] != "ended":
            assert time.monotonic() < deadline, f"the stream does not end: {self.told}"
            try:
                answer = httpx.stream("GET", self._url, headers={**self._headers, **last}, timeout=PATIENCE)
                with answer as events:
                    assert events.status_code == 200
                    self.connections += 1
                    self.told += _read(events.iter_lines())  # an unclean end would raise RemoteProtocolError
            except httpx.ConnectError:
                time.sleep(0.1)  # its gateway is not back yet
                continue
            last = {"Last-Event-ID": self.told[-1][1]} if self.told else {}


def _read(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            yield name, value


@pytest.fixture
def installation(emendo_redis, openai_server, model, tmp_path):
    settings = settings_for(
        emendo_redis.url,
        openai_server.base_url,
        **chat_at(openai_server),
        lease=8.0,
    )
    with ExitStack() as running:
        workers = [WorkerProcess(settings, tmp_path / f"worker-{n}.log") for n in range(4)]
        for worker in workers:
            running.callback(worker.stop)
        for worker in workers[:2]:
            worker.start()
        gateways = [running.enter_context(_Gateway(settings, tmp_path / f"gateway-{n}.log")) for n in range(2)]
        client = running.enter_context(MemoryClient(settings, project="acme"))
        yield settings, workers, gateways, client


def test_a_rolling_restart_loses_nothing_and_answers_everybody(installation, model):
    settings, workers, gateways, client = installation
    key, _ = make_key(settings, rate=0)
    begun, may_end = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        begun.set()
        may_end.wait(LONG_PATIENCE)

    model.before = hold
    with HttpTraffic([each.url for each in gateways], key, client) as traffic, ThreadPoolExecutor(8) as pool:
        try:
            held = client.add("I live in Porto.", "kim")  # it outlives the restart of both gateways
            assert begun.wait(PATIENCE)
            path = f"/api/v1/jobs/{held.id}"
            streams = [_Stream(gateway.url, path, key) for gateway in gateways]
            followed = [pool.submit(stream.follow) for stream in streams]
            for stream, gateway in zip(streams, gateways, strict=True):
                until(lambda stream=stream: stream.told, "the stream tells nothing")
                with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE) as caller:
                    asked = {"url": f"{gateway.url}{path}", "headers": {"Prefer": "wait=60"}}
                    polls = [pool.submit(caller.get, **asked) for _ in range(2)]
                    _meet_load(traffic)
                    assert gateway.terminate() == 0
                    assert [poll.result(PATIENCE).status_code for poll in polls] == [200, 200]
                    assert {poll.result().json()["status"] for poll in polls} == {"running"}
                gateway.start()
                until(lambda stream=stream: stream.connections == 2, "the stream did not come back")
                _meet_load(traffic)
        finally:
            may_end.set()
        for each in followed:
            each.result(PATIENCE)
        for old, new in zip(workers[:2], workers[2:], strict=True):
            old.send_signal(signal.SIGTERM)
            assert old.wait(PATIENCE) == 0
            new.start()
            _meet_load(traffic)
    assert traffic.problems == []
    assert {stream.connections for stream in streams} == {2}
    for told in (stream.told for stream in streams):
        assert [name for name, _ in told] == ["progress"] * (len(told) - 1) + ["ended"]
        assert all(one != next_one for one, next_one in pairwise(told)), "a stream that came back told the same again"
    assert held.wait(PATIENCE).status == "succeeded"
    for memory_id, job_ids in traffic.accepted.items():
        assert {client.job(job_id).wait(PATIENCE).status for job_id in job_ids} == {"succeeded"}
        entries = client.history(memory_id)
        assert Counter(entry.job_id for entry in entries) == Counter(job_ids), "each accepted change once"
        assert [entry.version for entry in entries] == list(range(1, len(job_ids) + 1))
        assert client.get(memory_id).memory == f"version {len(job_ids)}"
    health = client.health()
    assert (health.dead, health.worker_faults, health.workers) == (0, {}, 2)


def _meet_load(traffic: HttpTraffic) -> None:
    """Waits until further requests were answered."""
    before = traffic.answered
    until(lambda: traffic.answered > before + 20 or traffic.problems, "no request is answered")
