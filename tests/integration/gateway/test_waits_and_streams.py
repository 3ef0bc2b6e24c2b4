"""Waits and streams of jobs: one listener for all of them, and no place for those who have gone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from emendo_client import AsyncMemoryClient
from emendo_config import Keys
from emendo_config.store.connections import connect
from emendo_gateway.keys import authentication, records
from emendo_gateway.native import streams
from tests.integration.gateway.conftest import problem
from tests.support.gateway import make_key, on_control
from tests.support.patience import until
from tests.support.raw_http import read_until

MEMORIES, JOBS = "/api/v1/memories", "/api/v1/jobs"
BODY = {"messages": "x", "user_id": "ana", "infer": False}
WAIT = {"Prefer": "wait=60"}
DEADLINE = 90.0  # seconds


def events(answer) -> Iterator[tuple[str, str, dict]]:
    """The events of a stream: name, id, data. Comments are left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def asked(gateway, key: str, path: str, **fields: str):
    """A connection on which a request was sent, and nothing was read."""
    connection = gateway.connection()
    head = [f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    head += [f"{name}: {value}" for name, value in fields.items()]
    connection.sendall("\r\n".join([*head, "", ""]).encode())
    return connection


# Streams.


def test_a_stream_tells_a_job_until_its_end(tenant):
    items = [{"op": "add", "messages": f"fact {n}", "user_id": "ana"} for n in range(300)]
    job = tenant.post("/api/v1/batches", json={"items": items, "infer": False}).json()
    with tenant.stream("GET", f"{job['url']}/events") as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        told = list(events(answer))
    *before, (name, last, data) = told
    assert (name, data["status"], data["done"], data["total"]) == ("ended", "succeeded", 300, 300)
    assert {each[0] for each in before} <= {"progress"}
    assert [each[2]["done"] for each in told] == sorted(each[2]["done"] for each in told)
    assert len({each[1] for each in told}) == len(told)
    again = tenant.get(f"{job['url']}/events", headers={"Last-Event-ID": last})
    assert (again.status_code, again.content) == (204, b"")
    with tenant.stream("GET", f"{job['url']}/events") as answer:
        assert list(events(answer)) == [told[-1]]


def test_a_stream_goes_on_behind_the_last_event(start_gateway):
    with start_gateway().tenant() as tenant:
        job = tenant.post(MEMORIES, json=BODY).json()
        with tenant.stream("GET", f"{job['url']}/events") as answer:
            name, first, data = next(events(answer))
            assert (name, data["status"]) == ("progress", "queued")
        with tenant.stream("GET", f"{job['url']}/events", headers={"Last-Event-ID": first}) as answer:
            assert tenant.post(f"{job['url']}/cancel").json()["cancelled"] is True
            ((name, _, data),) = events(answer)
            assert (name, data["status"]) == ("ended", "cancelled")


def test_a_stream_of_nothing_is_refused_before_it_begins(tenant):
    problem(tenant.get(f"{JOBS}/0f3c/events"), 404, "JOB_NOT_FOUND")
    job = tenant.post(MEMORIES, json=BODY).json()
    problem(tenant.get(f"{job['url']}/events", headers={"Last-Event-ID": "x" * 201}), 400, "VALIDATION")


def test_a_silent_stream_has_a_heartbeat_and_ends_with_the_gateway(start_gateway, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.05)
    gateway = start_gateway()
    with gateway.tenant() as tenant:
        job = tenant.post(MEMORIES, json=BODY).json()
        with tenant.stream("GET", f"{job['url']}/events") as answer:
            lines = answer.iter_lines()
            while next(lines) != ": ping":
                pass
            threading.Thread(target=gateway.stop).start()
            assert {line.partition(":")[0] for line in lines} <= {"", "event"}


def test_a_stream_ends_with_its_key(start_gateway, monkeypatch):
    """A job may run for hours, and so would the stream of somebody whose key was taken back."""
    monkeypatch.setattr(streams, "HEARTBEAT", 0.05)
    monkeypatch.setattr(authentication, "REMEMBERED", 0.0)
    gateway = start_gateway(failed_logins_per_minute=1)
    key, record = make_key(gateway.settings)
    with gateway.http(key) as http:
        job = http.post(MEMORIES, json=BODY).json()
        with http.stream("GET", f"{job['url']}/events") as answer:
            lines = answer.iter_lines()
            for _ in range(3):
                while next(lines) != ": ping":
                    pass
            on_control(gateway.settings, records.revoke(Keys(gateway.settings.key_prefix), record.id))
            assert "event: ended" not in list(lines)
        problem(http.get(f"{job['url']}/events"), 401, "KEY_REFUSED")  # and not TOO_MANY_FAILED_LOGINS


# One listener.


def subscriptions(settings) -> list[int]:
    """For each connection that listens for jobs of this installation: for how many."""
    with connect(settings.control_url, settings) as redis:
        return [int(client["sub"]) for client in redis.client_list(_type="pubsub")]


async def each(calls) -> list:
    """The results of calls made at the same time, in their order."""
    return list(await asyncio.gather(*calls))


async def accepted(client, count: int) -> list[str]:
    """The addresses of new jobs, which no worker takes."""
    async with client:
        jobs = await each(client.add("x", user_id="ana", infer=False) for _ in range(count))
    return [f"{JOBS}/{job.id}" for job in jobs]


async def cancelled(client, addresses: list[str]) -> list[bool]:
    async with client:
        jobs = await each(client.job(address.removeprefix(f"{JOBS}/")) for address in addresses)
        return await each(job.cancel() for job in jobs)


@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_all_streams_and_waits_share_one_connection(start_gateway, count):
    gateway = start_gateway(max_wait=600)
    key, record = make_key(gateway.settings, rate=0)
    addresses = asyncio.run(accepted(AsyncMemoryClient(gateway.settings, record.project), count))
    with ExitStack() as open_ones:
        connections = []
        for place, address in enumerate(addresses):
            path, fields = (f"{address}/events", {}) if place % 2 else (address, {"Prefer": "wait=600"})
            connections.append(open_ones.enter_context(asked(gateway, key, path, **fields)))
        until(lambda: count in subscriptions(gateway.settings), seconds=DEADLINE)
        assert len([each for each in subscriptions(gateway.settings) if each]) == 1
        assert all(asyncio.run(cancelled(AsyncMemoryClient(gateway.settings, record.project), addresses)))
        for connection in connections:
            read_until(connection, b'"cancelled"', b"CANCELLED")
    until(lambda: not any(subscriptions(gateway.settings)), seconds=DEADLINE)


def test_a_wait_that_runs_out_tells_the_state_after_it(start_gateway):
    gateway = start_gateway()
    keys = Keys(gateway.settings.key_prefix)
    key, _ = make_key(gateway.settings)
    with gateway.http(key) as tenant, connect(gateway.settings.control_url, gateway.settings) as redis:
        job = tenant.post(MEMORIES, json=BODY).json()
        waiting = asked(gateway, key, job["url"], Prefer="wait=1")
        until(lambda: any(subscriptions(gateway.settings)), seconds=DEADLINE)
        redis.hset(keys.job(job["job_id"]), "status", "running")  # as a worker does
        read_until(waiting, b'"running"')
        waiting.close()


def test_an_end_is_noticed_after_the_listener_lost_its_connection(start_gateway):
    gateway = start_gateway()
    key, _ = make_key(gateway.settings)
    with gateway.http(key) as tenant, connect(gateway.settings.control_url, gateway.settings) as redis:
        job = tenant.post(MEMORIES, json=BODY).json()
        waiting = asked(gateway, key, job["url"], **WAIT)
        channel = Keys(gateway.settings.key_prefix).job_channel(job["job_id"])
        until(lambda: dict(redis.pubsub_numsub(channel))[channel.encode()] == 1, seconds=DEADLINE)
        for client in redis.client_list(_type="pubsub"):
            redis.client_kill_filter(_id=client["id"])
        assert tenant.post(f"{job['url']}/cancel").json()["cancelled"] is True
        read_until(waiting, b'"cancelled"')
        waiting.close()


# Those who have gone.


@pytest.mark.parametrize("kind", ["wait", "stream", "body"])
def test_who_goes_away_leaves_a_place_at_once(start_gateway, kind):
    gateway = start_gateway(max_waits=1, max_queue_seconds=1.0, max_wait=600)
    key, _ = make_key(gateway.settings)
    with gateway.http(key) as tenant:
        job = tenant.post(MEMORIES, json=BODY).json()

        def is_taken() -> bool:
            return tenant.get(job["url"], headers={"Prefer": "wait=0"}).status_code == 503

        if kind == "body":
            gone = gateway.connection()
            body = json.dumps(BODY).encode()
            head = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: wait=600\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
        elif kind == "stream":
            gone = asked(gateway, key, f"{job['url']}/events")
        else:
            gone = asked(gateway, key, job["url"], Prefer="wait=600")
        until(is_taken, seconds=DEADLINE)
        gone.close()
        until(lambda: not is_taken(), seconds=DEADLINE)
