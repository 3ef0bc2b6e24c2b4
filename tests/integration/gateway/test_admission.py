"""Refusals before any work: hosts, sizes, slow senders, too many at once; and the way a gateway stops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from emendo_client.testing.fixtures import settings_for
from tests.integration.gateway.conftest import hold_a_wait, problem
from tests.support.gateway import browser, make_key
from tests.support.raw_http import raw, read

MEMORIES = "/api/v1/memories"
BODY = {"messages": "x", "user_id": "ana", "infer": False}


# Hosts.


@pytest.fixture(scope="module")
def named(emendo_redis) -> Iterator[TestClient]:
    """A gateway with names of its own. It is made once, since no request here changes anything."""
    with browser(settings_for(emendo_redis.url, ""), hosts="memories.example.com, *.wild.example") as http:
        yield http


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:1", True),
        ("10.1.2.3:8080", True),
        ("[::1]:8080", True),
        ("memories.example.com", True),
        ("Memories.Example.COM.:443", True),
        ("a.wild.example", True),
        ("wild.example", False),
        ("evil.example", False),
        ("memories.example.com.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:80@localhost", False),
        ("a b", False),
        ("", False),
    ],
)
def test_a_host_name_that_is_not_ours_is_refused(named, host, known):
    for path in ("/health/live", "/openapi.json", "/metrics", MEMORIES):
        answer = named.get(path, headers={"Host": host})
        assert (answer.status_code != 400) is known, (path, answer.text)


def test_all_host_names_only_when_asked_for(emendo_settings):
    with browser(emendo_settings, hosts="*") as http:
        assert http.get("/health/live", headers={"Host": "evil.example"}).status_code == 200


# Sizes.


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(start_gateway):
    gateway = start_gateway(max_body_bytes=2_000)
    key, _ = make_key(gateway.settings)
    head = f"POST {MEMORIES} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\nContent-Type: application/json\n"
    status, fields, body = raw(gateway, f"{head}Content-Length: 2001")  # none of it is sent
    assert (status, json.loads(body)["code"], fields["connection"]) == (413, "BODY_TOO_LARGE", "close")
    status, _, body = raw(gateway, f"{head}Content-Length: {10**30}")
    assert status in (400, 413)
    chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
    status, _, body = raw(gateway, f"{head}Transfer-Encoding: chunked", chunk, (chunk,))  # and it would go on
    assert (status, json.loads(body)["code"]) == (413, "BODY_TOO_LARGE")
    with gateway.http(key) as http:
        fits = json.dumps(BODY).encode().ljust(2_000)
        headers = {"Content-Type": "application/json"}
        assert http.post(MEMORIES, content=fits, headers=headers).status_code == 202
        pieces = (fits[n : n + 100] for n in range(0, 2_000, 100))
        assert http.post(MEMORIES, content=pieces, headers=headers).status_code == 202


def test_a_head_that_is_too_large_is_refused(start_gateway):
    gateway = start_gateway(max_header_bytes=4_000)
    for fields in (
        f"X-Long: {'x' * 4_000}",
        "\n".join(f"X-{n}: x" for n in range(101)),
        "X: " + "y" * 9_999,
    ):
        status, _, _ = raw(gateway, f"GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\n{fields}")
        assert status == 431
    for more, expected in ((98, 200), (99, 431)):  # beside the first two
        fields = "\n".join(f"X-{n}: x" for n in range(more))
        status, _, _ = raw(gateway, f"GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\n{fields}")
        assert status == expected
    with gateway.connection() as connection:  # in pieces, without an end
        connection.sendall(b"GET /health/live HTTP/1.1\r\n")
        for _ in range(5):
            connection.sendall(b"X: " + b"y" * 1_000 + b"\r\n")
        status, _, body = read(connection)
        assert (status, json.loads(body)["code"]) == (431, "HEAD_TOO_LARGE")
    with gateway.http() as http:
        problem(http.get("/health/live", params={"x": "y" * 4_000}), 431, "HEAD_TOO_LARGE")
        assert http.get("/health/live").status_code == 200


# Slow senders.


def test_a_body_that_comes_too_slowly_is_given_up_and_holds_no_place(start_gateway):
    gateway = start_gateway(max_writes=1, body_timeout=2.0)
    key, _ = make_key(gateway.settings)
    head = (
        f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
    )
    slow = [gateway.connection() for _ in range(5)]
    for connection in slow:
        connection.sendall(head.encode())
    with gateway.http(key) as http:
        assert http.post(MEMORIES, json=BODY).status_code == 202, "the only place for writes is free"
    for connection in slow:
        status, fields, body = read(connection)
        assert (status, json.loads(body)["code"], fields["connection"]) == (408, "BODY_TOO_SLOW", "close")
        connection.close()


def test_a_connection_that_never_asks_is_closed(start_gateway):
    gateway = start_gateway(header_timeout=0.5)
    with gateway.connection() as silent, gateway.connection() as slow:
        slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: loc")
        assert (silent.recv(1_000), slow.recv(1_000)) == (b"", b"")
    with gateway.http() as http:
        assert http.get("/health/live").status_code == 200


# Too many at once.


def test_a_lane_that_is_full_is_told_at_once_and_the_others_go_on(start_gateway):
    gateway = start_gateway(max_waits=1, max_queue_seconds=0.05, shutdown_timeout=30.0)
    with gateway.tenant() as http, ThreadPoolExecutor(1) as pool:
        job = http.post(MEMORIES, json=BODY).json()
        waiting, refused = hold_a_wait(http, job["url"], pool)
        problem(refused, 503, "OVERLOADED")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.get(job["url"]).status_code == 200, "a read has a lane of its own"
        assert http.post(MEMORIES, json=BODY).status_code == 202
        assert http.get("/health/live").status_code == 200
        gateway.stop()  # ends the wait, and lets it answer
        assert (waiting.result().status_code, waiting.result().json()["status"]) == (200, "queued")


# Answers.


def test_every_answer_has_the_common_fields_and_no_page_runs_anything(emendo_settings):
    with browser(emendo_settings) as http:
        for path in ("/health/live", "/openapi.json", "/metrics", MEMORIES, "/errors/VALIDATION", "/nothing"):
            answer = http.get(path, headers={"X-Request-ID": "mine-1"})
            assert answer.headers["x-content-type-options"] == "nosniff"
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert (answer.headers["x-request-id"], "server" in answer.headers) == ("mine-1", False)
            assert "<script" not in answer.text
        for page in ("/docs", "/redoc"):
            assert http.get(page).status_code == 401


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        (["mine-1"], True),
        (["A.b_c:9" + "x" * 57], True),
        (["A.b_c:9" + "x" * 58], False),
        (["a\tb"], False),
        (["a b"], False),
        (["a;b"], False),
        ([""], False),
        (["mine-1", "mine-1"], False),
    ],
)
def test_an_id_of_the_callers_is_kept_if_a_log_can_show_it(emendo_settings, given, is_kept):
    with browser(emendo_settings) as http:
        answer = http.get("/health/live", headers=[("X-Request-ID", each) for each in given])
    assert (answer.headers["x-request-id"] == given[0]) is is_kept
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(("who", "nobody", "known"), [("open", 200, 200), ("loopback", 200, 200), ("key", 401, 200)])
def test_who_may_read_metrics(emendo_settings, who, nobody, known):
    key, _ = make_key(emendo_settings, scope="read")
    with browser(emendo_settings, metrics=who) as http:
        assert http.get("/metrics").status_code == nobody
        assert http.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == known


def test_metrics_for_loopback_are_closed_to_others(emendo_settings):
    with browser(emendo_settings, metrics="loopback") as http:
        http._transport.client = ("10.0.0.9", 1)
        assert http.get("/metrics").status_code == 401
        # Nobody believes a client that says where it comes from.
        assert http.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401


def test_redis_is_asked_once_for_all_who_scrape(emendo_settings, monkeypatch):
    from emendo_gateway import operations

    asked = []
    real = operations.check_async
    monkeypatch.setattr(operations, "check_async", lambda *given: (asked.append(1), real(*given))[1])
    monkeypatch.setattr(operations, "METRICS_KEPT", 600.0)
    with browser(emendo_settings) as http:
        assert {http.get("/metrics").status_code for _ in range(5)} == {200}
    assert len(asked) == 1


def test_an_error_without_a_redis_is_503_and_says_no_address(emendo_settings):
    away = emendo_settings.model_copy(
        update={"redis_url": "redis://127.0.0.1:1/0", "control_url": "redis://127.0.0.1:1/0"}
    )
    with browser(away, auth="off") as http:
        answer = http.get(f"{MEMORIES}/a")
        problem(answer, 503, "NETWORK")
        assert (int(answer.headers["retry-after"]) >= 1, "127.0.0.1" in answer.text) == (True, False)
    with browser(away) as http:
        key = "em_0123456789abcdef_" + "x" * 43
        problem(http.get(MEMORIES, headers={"Authorization": f"Bearer {key}"}), 503, "NETWORK")
