"""Connections that break HTTP, dawdle, or go away: each ends, and holds up nobody else."""

from __future__ import annotations

import json
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gateway import RunningGateway, make_key
from tests.support.patience import PATIENCE, until
from tests.support.raw_http import LIVE, asks_again, connected, is_closed, raw, read, read_all, read_until

MEMORIES = "/api/v1/memories"
BODY = {"messages": "x", "user_id": "ana", "infer": False}


@pytest.fixture(scope="module")
def impatient(emendo_worker):
    """A gateway that gives its clients little time."""
    with RunningGateway(emendo_worker, header_timeout=0.5, body_timeout=0.5) as running:
        yield running


# Bytes that are no HTTP.


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # the beginning of TLS
        b"GET\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n\r\n",  # no Host
        LIVE + b"Host: localhost\r\n\r\n",
        LIVE + b" folded: x\r\nno colon\r\n\r\n",
        LIVE + b"X\x00: 1\r\n\r\n",
        LIVE + b"X: a\x00b\r\n\r\n",
        LIVE + b"X : 1\r\n\r\n",
        LIVE + b"Content-Length: -1\r\n\r\n",
        LIVE + b"Content-Length: 1x\r\n\r\n",
        LIVE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        LIVE + b"Content-Length: 1, 2\r\n\r\n",
        LIVE + b"Transfer-Encoding: gzip\r\n\r\n",
        LIVE + b"Transfer-Encoding: chunked, identity\r\n\r\n",
        LIVE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[-30:]),
)
def test_what_is_no_http_is_told_so_as_a_problem_and_ends_the_connection(impatient, sent, caplog):
    with impatient.connection() as connection:
        connection.sendall(sent)
        status, fields, body = read(connection)
    problem = json.loads(body)
    assert 400 <= status < 500, body
    assert (problem["status"], fields["content-type"]) == (status, "application/problem+json")
    with impatient.http() as http:
        assert http.get("/health/live").status_code == 200
    assert "Traceback" not in caplog.text


def test_a_broken_body_behind_an_answer_is_no_failure(gateway, caplog):
    """The key is refused before the body is read, which then is no body at all."""
    head = "POST /api/v1/memories HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked"
    with gateway.connection() as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n1\r\n")
        received = connection.recv(65_536)
        assert received.startswith(b"HTTP/1.1 401 ")
        connection.sendall(b"{\r\nnone\r\n")
        assert is_closed(connection)
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("1.1", "Content-Length: 0\r\n"),
        ("1.1", "Content-Length: 5\r\n"),
        ("1.1", "content-length: 999\r\n"),
        ("1.0", "Connection: keep-alive\r\n"),
    ],
)
def test_a_body_of_two_lengths_hides_no_other_request(gateway, version, more):
    """A proxy that believes the other length takes the second request for a part of the first."""
    head = f"POST {MEMORIES} HTTP/{version}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    hidden = LIVE + b"Connection: close\r\n\r\n"
    with gateway.connection() as connection:
        connection.sendall(f"{head}{more}\r\n0\r\n\r\n".encode() + hidden)
        status, fields, body = read(connection)
    assert (status, fields["connection"]) == (400, "close")
    assert json.loads(body)["code"] == "VALIDATION", "the hidden request was answered"


@pytest.mark.parametrize("length", [0, 1, 30, 10**6])
def test_a_length_that_is_not_the_bodys_stores_nothing(impatient, length):
    """Too short: the rest is taken for another request. Too long: the rest never comes."""
    project = f"project-{uuid.uuid4().hex[:8]}"
    key, _ = make_key(impatient.settings, project)
    fields = f"Host: localhost\nAuthorization: Bearer {key}\nContent-Type: application/json\nContent-Length: {length}"
    status, _, _ = raw(impatient, f"POST {MEMORIES} HTTP/1.1\n{fields}", json.dumps(BODY).encode())
    assert 400 <= status < 500
    with impatient.http(key) as http:
        assert http.get("/api/v1/jobs").json()["results"] == []


def test_old_and_odd_but_right_http_is_answered(gateway):
    for head in (
        "GET /health/live HTTP/1.0\nHost: localhost",
        "GET /health/live HTTP/1.0",  # as a load balancer asks for health
        "GET /health/live HTTP/1.1\nhOST:localhost\nConnection: close",
        "GET /health/live?a=%20 HTTP/1.1\nHost: localhost\nConnection: close\nX-Empty:",
        "GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\nUpgrade: h2c",
        "GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\nExpect: 100-continue",
    ):
        assert raw(gateway, head)[0] == 200, head


def test_requests_that_come_together_are_answered_in_their_order(gateway):
    key, _ = make_key(gateway.settings)
    lines = [f"GET {path} HTTP/1.1" for path in ("/health/live", "/nothing", f"{MEMORIES}/none", "/health/live")]
    heads = [f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n" for line in lines]
    heads[-1] += "Connection: close\r\n"
    with gateway.connection() as connection:
        connection.sendall("".join(f"{head}\r\n" for head in heads).encode())
        received = b""
        while part := connection.recv(65_536):
            received += part
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 404, 200]


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("stops", [True, False])
def test_a_client_that_stays_behind_its_broken_body_holds_nobody(start_gateway, is_answered, stops):
    """Neither the gateway's stop nor, beyond the time for a body, its connection."""
    limits = {"body_timeout": 600.0} if stops else {"body_timeout": 0.5, "header_timeout": 0.5}
    gateway = start_gateway(**limits, shutdown_timeout=600.0)
    key = "none" if is_answered else make_key(gateway.settings)[0]
    client, served = connected(gateway)
    with client:
        head = f"POST {MEMORIES} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\nTransfer-Encoding: chunked\n\n"
        client.sendall(head.replace("\n", "\r\n").encode())
        until(lambda: served.cycle is not None and served.cycle.response_complete is is_answered)
        until(lambda: is_answered or served.cycle.message_event._waiters)
        client.sendall(b"none\r\n")
        until(lambda: served._lingers)
        until(lambda: not gateway.server.server_state.tasks, "the request waits for the rest of its body")
        if stops:
            gateway.stop()
        until(lambda: served not in gateway.server.server_state.connections)


# Slow ones.


@pytest.mark.parametrize("asks_before", [False, True], ids=["first", "next"])
def test_a_head_that_dribbles_ends_its_connection(impatient, asks_before):
    """Also behind a request that was answered: one byte would keep that connection for ever."""
    slow = []
    for _ in range(20):
        connection = impatient.connection()
        slow.append(connection)
        assert not asks_before or asks_again(connection)
        connection.sendall(b"G")
    with impatient.http() as http:
        assert http.get("/health/live").status_code == 200
    for connection in slow:
        assert is_closed(connection)
        connection.close()


def test_a_body_that_dribbles_behind_its_answer_ends_its_connection(impatient):
    with impatient.connection() as connection:
        connection.sendall(b"POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
        connection.sendall(b"x")
        assert is_closed(connection)


def test_answers_that_are_never_read_hold_nobody(start_gateway, monkeypatch, caplog):
    """Such answers stay in the gateway's memory until their connection is ended."""
    gateway = start_gateway(request_timeout=60.0, max_reads=1, shutdown_timeout=30.0)
    limited = gateway.server.config.http_protocol_class
    assert limited.answer_timeout == 60.0
    monkeypatch.setattr(limited, "answer_timeout", 0.3)  # for readers only: the requests below may be slow
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    deaf = []
    for _ in range(2):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(asked * 50)
        deaf.append(connection)
    with gateway.tenant() as http:
        assert http.get("/api/v1/jobs").status_code == 200
        assert http.get("/health/live").status_code == 200
        # Only then they are read: a client that begins in time gets all of its answers, and is kept.
        until(lambda: len(gateway.server.server_state.connections) == 1)
    for connection in deaf:
        assert is_closed(connection)
        connection.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    gateway.stop()


def test_who_reads_late_is_kept(start_gateway):
    """The limit of an unread answer ends with the reading."""
    client, served = connected(start_gateway())
    with client:
        served.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_024)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall(asked + b"\r\n" + LIVE + b"\r\n")
        until(lambda: served._unread is not None)
        assert served.flow.write_paused, "the gateway writes on"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        read_until(client, b'{"status":"alive"}')
        assert served._unread.cancelled()
        assert asks_again(client)


def test_small_answers_that_are_never_read_hold_nobody(start_gateway):
    """They never fill the buffer that tells the gateway to write no more."""
    gateway = start_gateway(header_timeout=0.5, request_timeout=0.5)
    client, served = connected(gateway)
    with client:
        served.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_024)
        client.sendall((LIVE + b"\r\n") * 30)
        until(lambda: served not in gateway.server.server_state.connections)
    assert served._unread is None


def test_each_of_the_requests_that_came_together_has_its_own_time(start_gateway):
    """The time for a head ends with the head; that for the rest of a body begins with its answer."""
    gateway = start_gateway(header_timeout=0.5, body_timeout=0.5, max_wait=0.6)
    key, _ = make_key(gateway.settings)
    with gateway.http(key) as http:
        job = http.post(MEMORIES, json=BODY).json()["url"]
    waits = f"GET {job} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: wait=9\r\n\r\n"
    refused = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with gateway.connection() as connection:
        connection.sendall(LIVE + f"\r\n{waits}{refused}".encode())
        received = read_until(connection, b"KEY_REFUSED")
        connection.sendall(b"x" * 9 + f"{waits}{refused}".encode())
        received += read_all(connection)
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 401, 200, 401]


# Clients that go.


def test_a_connection_that_is_gone_is_forgotten(start_gateway):
    """Also if its heads came in pieces. A timer would keep it for as long as the gateway runs."""
    client, served = connected(start_gateway())
    with client:
        assert asks_again(client)
        for _ in range(3):
            until(lambda: served._is_idle)
            client.sendall(LIVE[:3])
            until(lambda: not served._is_idle)
            assert asks_again(client, LIVE[3:])

    def timers() -> list[object]:
        scheduled = [each for each in list(served.loop._scheduled) if not each.cancelled()]
        return [each for each in scheduled if getattr(each._callback, "__self__", None) is served]

    until(lambda: not timers(), timers)


def test_a_client_that_goes_gives_back_the_place_of_its_wait(start_gateway):
    gateway = start_gateway(max_waits=1, max_queue_seconds=30.0, max_wait=600.0)
    key, _ = make_key(gateway.settings)
    with gateway.http(key) as http:
        job = http.post(MEMORIES, json=BODY).json()["url"]
        for _ in range(5):
            with gateway.connection() as connection:
                head = f"GET {job} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: wait=600\r\n"
                connection.sendall(head.encode() + b"\r\n")
        # Until the gateway has seen that they went, there may be no place.
        until(lambda: http.get(job, headers={"Prefer": "wait=0"}).status_code == 200)


def test_clients_that_go_in_the_middle_leave_the_gateway_as_it_was(impatient, caplog):
    key, _ = make_key(impatient.settings, "left")
    content = json.dumps(BODY).encode()
    whole = (
        f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    for sent in range(0, len(whole), 7):  # never the whole request
        with impatient.connection() as connection:
            connection.sendall(whole[:sent])
    with impatient.http(key) as http:
        assert http.get("/api/v1/jobs").json()["results"] == []
        assert http.post(MEMORIES, json=BODY).status_code == 202
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# The end.


def test_requests_under_way_are_finished_when_the_gateway_stops(emendo_worker, openai_server):
    openai_server.latency_ms = 300
    with (
        RunningGateway(emendo_worker, shutdown_timeout=60.0) as gateway,
        gateway.tenant() as http,
        ThreadPoolExecutor(1) as pool,
    ):
        before = len(openai_server.requests)
        searching = pool.submit(http.post, f"{MEMORIES}/search", json={"query": "x", "user_id": "ana"})
        while len(openai_server.requests) == before and not searching.done():
            pass
        gateway.stop()
        assert searching.result().status_code == 200
