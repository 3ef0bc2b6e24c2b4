"""The gateway beside the Python client, and beside a bare route of the framework it is built on."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emendo_client.exchanges.exchange import run
from emendo_client.testing.ports import free_port
from emendo_client.testing.worker import environment
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_gateway.keys import records
from emendo_ops.bench import updates
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.statistics import percentile
from emendo_ops.bench.store import Store
from tests.bench.plan import Plan
from tests.bench.throughput import warm_store

_CALLS, _BATCHES, _BATCH, _REQUESTS, _LOOKS = 1_000, 5, 1_000, 5_000, 300
_WARM_UP = 2_000
_CONNECTIONS = 16
HEALTH = "/health"
_HERE = Path(__file__).parent
_START, _ANSWER = 60.0, 120.0  # seconds
_ADD = {"messages": "I dislike seafood, and I live in Lisbon.", "user_id": "ana", "infer": False}


class Http:
    """One connection that is kept, with a key."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER)
        self._fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None, **fields: str) -> dict[str, Any]:
        """The answer's document.

        Raises:
            RuntimeError: it is no 200 or 202.
        """
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, self._fields | fields)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 202) and path != HEALTH:  # which tells that no worker runs
            raise RuntimeError(f"{method} {path} was answered with {answer.status}")
        found: dict[str, Any] = json.loads(content)
        return found

    def close(self) -> None:
        """Closes it."""
        self._connection.close()


@contextmanager
def _serving(command: list[str], variables: dict[str, str], port: int) -> Iterator[None]:
    """A server process, from when it answers."""
    process = subprocess.Popen(command, env=variables, cwd=_HERE.parents[1], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER)
            try:
                connection.request("GET", "/health/live")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[1:4]} did not start") from None
                time.sleep(0.05)
            finally:
                connection.close()
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _gateway(settings: Settings, project: str) -> Iterator[tuple[int, str]]:
    """A gateway process: its port, and a key for the project."""
    with connect(settings.control_url, settings) as connection:
        exchange = records.create(Keys(settings.key_prefix), project=project, scope="admin", rate=0)
        key, _ = run({"control": sender_for(connection)}, exchange)
    port = free_port()
    command = [sys.executable, "-m", "emendo_ops.cli", "gateway", "--port", str(port)]
    with _serving(command, environment(settings), port):
        yield port, key


def gateway(plan: Plan) -> Samples:
    """Calls, batches and health over HTTP; each in turn with what it is compared to."""
    samples = Samples()
    count = plan.size(_CALLS)
    for number in range(plan.rounds):
        with warm_store(plan.bed, count) as store, _gateway(store.settings, store.client.project) as (port, key):
            client = Http(port, key)
            by_client = statistics.median(updates.one_by_one(store, store.ids, f"round {number}").latencies)
            by_http = statistics.median(_updates(client, store, f"round {number}, over HTTP"))
            samples.add("emendo", {"beyond": (by_http - by_client) * 1_000, "p50": by_http * 1_000})
            samples.add("emendo", _batches(plan, client, store, number))
            client.close()
        plan.bed.wipe()
        samples.add("emendo", _under_load(plan))
        samples.add("bare", _bare(plan))
    samples.note(f"{_CONNECTIONS} connections; the gateway checks a key, and its jobs are accepted, but no worker runs")
    return samples


def _updates(client: Http, store: Store, tag: str) -> list[float]:
    """The latency of each change, one after the other; ends when the last one is applied."""
    latencies, job = [], {}
    for memory_id in store.ids:
        body = {"text": updates.text_of(memory_id, tag)}
        began = time.perf_counter()
        job = client.ask("PATCH", f"/api/v1/memories/{memory_id}", body)
        latencies.append(time.perf_counter() - began)
    client.ask("GET", job["url"], Prefer="wait=60")
    return latencies


def _batches(plan: Plan, client: Http, store: Store, number: int) -> dict[str, float]:
    """Updates a second in batches that are waited for, by the client and over HTTP."""
    size = min(_BATCH, len(store.ids))
    ids = store.ids[:size]
    warm = [{"memory_id": each, "metadata": {"warm": number}} for each in ids]
    store.client.batch_update(warm).wait(_ANSWER, raise_on_failure=True)
    rates: dict[str, list[float]] = {"client_rate": [], "batch_rate": []}
    for turn in range(max(1, plan.size(_BATCHES) if plan.scale >= 1 else 1)):
        tag = f"batch {number}.{turn}"
        items = [{"memory_id": each, "text": updates.text_of(each, tag)} for each in ids]
        began = time.perf_counter()
        store.client.batch_update(items).wait(_ANSWER, raise_on_failure=True)
        rates["client_rate"].append(size / (time.perf_counter() - began))
        body = {"items": [{"op": "update", **item, "text": f"{item['text']} again"} for item in items]}
        began = time.perf_counter()
        result = client.ask("POST", "/api/v1/batches", body, Prefer="wait=60")
        if result["status"] != "succeeded":
            raise RuntimeError("a batch did not succeed")
        rates["batch_rate"].append(size / (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in rates.items()}


def _under_load(plan: Plan) -> dict[str, float]:
    """Adds a second that are accepted, and the p99 of health under the same load."""
    settings = plan.bed.settings()
    with _gateway(settings, "bench") as (port, key):
        return _loaded(plan, port, key)


def _bare(plan: Plan) -> dict[str, float]:
    """The same of the bare route."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare_route", str(port)]
    with _serving(command, dict(os.environ), port):
        return _loaded(plan, port, "none")


def _loaded(plan: Plan, port: int, key: str) -> dict[str, float]:
    requests = plan.size(_REQUESTS)
    for count in (plan.size(_WARM_UP), requests):
        with _load(port, key, count) as load:  # alone: who looks at health takes the server's time, and a core's
            assert load.stdout is not None
            rate = float(load.stdout.read())
    with _load(port, key, requests) as load:
        client = Http(port, key)
        looks = []
        while load.poll() is None or len(looks) < plan.size(_LOOKS):
            began = time.perf_counter()
            client.ask("GET", HEALTH)
            looks.append(time.perf_counter() - began)
            time.sleep(0.005)
        client.close()
        return {"rate": rate, "health_p99": percentile(looks, 0.99) * 1_000}


@contextmanager
def _load(port: int, key: str, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """The load, which begins at once."""
    body = json.dumps(_ADD)
    head = f"POST /api/v1/memories HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    command = [sys.executable, str(_HERE / "http_load.py"), str(port), str(_CONNECTIONS), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write((head + body).encode())
    process.stdin.close()
    try:
        yield process
    finally:
        process.wait(_ANSWER)
