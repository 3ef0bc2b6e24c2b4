"""A project that takes all it can get of the gateway leaves room for another one."""

from __future__ import annotations

import json
import select
from concurrent.futures import ThreadPoolExecutor

from tests.integration.gateway.conftest import hold_a_wait, problem
from tests.support.gateway import make_key
from tests.support.raw_http import read

MEMORIES = "/api/v1/memories"
BODY = {"messages": "x", "user_id": "ana", "infer": False}


def test_one_project_does_not_hold_all_waits(start_gateway):
    gateway = start_gateway(max_waits=2, shutdown_timeout=30.0)
    with gateway.tenant() as greedy, gateway.tenant() as neighbour, ThreadPoolExecutor(1) as pool:
        job = greedy.post(MEMORIES, json=BODY).json()
        assert greedy.get(job["url"], headers={"Prefer": "wait=0"}).status_code == 200
        other = neighbour.post(MEMORIES, json=BODY).json()
        waiting, refused = hold_a_wait(greedy, job["url"], pool)
        assert "half of the waits" in problem(refused, 503, "OVERLOADED")["detail"]
        assert neighbour.get(other["url"], headers={"Prefer": "wait=0"}).status_code == 200
        gateway.stop()
        assert waiting.result().status_code == 200


def test_one_project_does_not_fill_the_room_for_bodies(start_gateway):
    gateway = start_gateway(max_body_bytes=2_000, max_buffered_bytes=4_000)
    key, _ = make_key(gateway.settings, "greedy")
    head = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 1500\r\n\r\n"
    slow = [gateway.connection() for _ in range(3)]
    with gateway.tenant() as neighbour:
        assert neighbour.post(MEMORIES, json=BODY).status_code == 202
        for connection in slow:
            connection.sendall(head.encode() + b"{" + b" " * 1_399)
        left = list(slow)
        while len(left) > 1:
            for connection in select.select(left, [], [])[0]:
                left.remove(connection)
                status, fields, body = read(connection)
                assert (status, fields["connection"], "half of the bytes" in body.decode()) == (503, "close", True)
                assert json.loads(body)["code"] == "OVERLOADED"
        content = json.dumps(BODY).encode().ljust(1_900)
        headers = {"Content-Type": "application/json"}
        assert neighbour.post(MEMORIES, content=content, headers=headers).status_code == 202
    for connection in slow:
        connection.close()
