"""Malformed requests: each gets the 4xx that says what is wrong, as a problem, and changes nothing."""

from __future__ import annotations

import json

import pytest

from emendo_config import GatewaySettings, Settings
from emendo_gateway.app import create_app
from tests.integration.gateway.conftest import problem
from tests.support.gateway import make_key
from tests.support.raw_http import raw

MEMORIES = "/api/v1/memories"
JSON = {"Content-Type": "application/json"}
ADD = '{"messages": "x", "user_id": "ana", "infer": false%s}'


@pytest.fixture(scope="module")
def owned(gateway):
    """A client of a project with one memory, which is the same after all tests of this file, and its path."""
    with gateway.tenant() as client:
        body = {"messages": "stays as it is", "user_id": "ana", "infer": False, "metadata": {"a": 1}}
        job = client.post(MEMORIES, json=body, headers={"Prefer": "wait=60"}).json()
        path = f"{MEMORIES}/{job['results'][0]['memory_id']}"
        before = client.get(path).json()
        yield client, path
        assert client.get(path).json() == before
        assert client.get(MEMORIES, params={"all_users": "true", "include_deleted": "true"}).json()["total"] == 1
        assert len(client.get("/api/v1/jobs").json()["results"]) == 1, "a malformed request became a job"


# Bodies.


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ADD % ', "user_id": "bob"', "a name twice"),
        (ADD % ', "metadata": {"a": 1, "a": 2}', "a name twice"),
        (ADD % ', "metadata": {"a": [{"b": 1, "b": 1}]}', "a name twice"),
        (ADD % ', "metadata": {"a": NaN}', "NaN or Infinity"),
        (ADD % ', "metadata": {"a": -Infinity}', "NaN or Infinity"),
        (ADD % ', "metadata": {"a": 1e999}', "too large"),
        (ADD % (', "metadata": {"a": ' + "9" * 5_000 + "}"), "not JSON"),
        (ADD % (', "metadata": {"a": ' + "9" * 400 + "}"), "metadata"),
        (ADD % (', "metadata": ' + '{"a":' * 200 + "1" + "}" * 200), "metadata"),
        (ADD % (', "metadata": ' + '{"a":' * 100_000 + "1" + "}" * 100_000), "not JSON"),
        (ADD % ', "metadata": {"a": "\\ud800"}', "metadata"),
        (ADD % ', "agent_id": "\\u0000"', "agent_id"),
        (ADD % ', "agent_id": "\\ud800"', "agent_id"),
        (ADD % ', "run_id": ""', "run_id"),
        (ADD % ', "run_id": 1', "run_id"),
        (ADD % ', "dry_run": "false"', "dry_run"),
        (ADD % ', "expires_at": "yesterday"', "expires_at"),
        (ADD % ', "__proto__": {}', "__proto__"),
        ('{"messages": {"role": "root", "content": "x"}, "user_id": "ana"}', "role"),
        ('{"messages": [[]], "user_id": "ana"}', "messages"),
        ('{"messages": "\\ud800", "user_id": "ana", "infer": false}', "messages"),
        (ADD % "" + "x", "not JSON"),
        (ADD % "" + (ADD % ""), "not JSON"),
        ("'x'", "not JSON"),
        ('"text"', "body"),
        ("1", "body"),
        ("null", "body"),
        (" ", "not JSON"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_body_that_means_nothing_or_two_things_is_refused(owned, content, told):
    client, path = owned
    refused = problem(client.post(MEMORIES, content=content, headers=JSON), 400, "VALIDATION")
    assert told in refused["detail"] + refused["advice"], refused
    if content.startswith('{"messages": "x"'):  # a change of the memory, in place of one more
        changed = content.replace('"messages": "x", "user_id": "ana", "infer": false', '"text": "changed"')
        assert client.patch(path, content=changed, headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "more",
    ['"user_id": "bob"', '"metadata": {"a": 1, "a": 2}', '"metadata": {"a": NaN}', '"metadata": {"a": 1e999}'],
)
def test_a_body_of_mem0_that_means_two_things_is_refused(owned, more):
    """A proxy may have looked at the first of two names, and the route would take the last."""
    client, _ = owned
    refused = client.post("/v3/memories/add/", content=ADD % f", {more}", headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (400, "VALIDATION")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"])
def test_a_body_in_another_encoding_is_refused_whatever_it_declares(owned, encoding):
    client, _ = owned
    content = '{"messages": "é", "user_id": "ana", "infer": false}'.encode(encoding)
    for declared in ("application/json", f"application/json; charset={encoding}"):
        refused = client.post(MEMORIES, content=content, headers={"Content-Type": declared})
        problem(refused, 400, "VALIDATION")


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
        "text/x+json",
        "x",
    ],
)
def test_a_body_of_another_type_is_refused(owned, media_type):
    client, _ = owned
    headers = {"Content-Type": media_type} if media_type else {}
    problem(client.post(MEMORIES, content=ADD % "", headers=headers), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_in_utf_8_is_accepted_however_its_type_is_written(gateway):
    with gateway.tenant() as client:
        content = '{"messages": "é 漢 🐟", "user_id": "ana", "infer": false}'
        for media_type in (
            *("application/json;charset=UTF-8", 'Application/JSON; charset="utf-8"', "application/json ; a=b"),
            "application/x+json",
        ):
            for encoding in ("utf-8", "utf-8-sig"):  # some programs begin with a mark of the order of bytes
                sent = content.encode(encoding)
                assert client.post(MEMORIES, content=sent, headers={"Content-Type": media_type}).status_code == 202


# Paths and queries.


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("%FF", 400),
        ("a%C3", 400),
        ("%ED%A0%80", 400),  # half of a surrogate pair
        ("a%00b", 400),
        ("a%0d%0aX:1", 400),
        ("a%2Fb", 404),
        ("..%2F..%2Fmetrics", 404),
        ("%2e%2e%2fjobs", 404),
        ("../../metrics", 404),
        ("*", 400),
        ("{test}", 400),
        ("x" * 129, 400),
        ("é", 400),
        ("00000000-0000-0000-0000-000000000000", 404),
    ],
)
@pytest.mark.parametrize("after", ["", "/history"])
def test_an_id_that_is_none_is_refused(gateway, path, status, after):
    key, _ = make_key(gateway.settings)
    target = f"{MEMORIES}/{path}{after}".encode().decode("latin-1")
    head = f"GET {target} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\nConnection: close"
    found, _, body = raw(gateway, head)
    if path == "é":  # no byte of an address: the server does not even take it for HTTP
        assert found == 400
    assert (found, json.loads(body)["status"]) == (status, status)


@pytest.mark.parametrize(
    "query", ["user_id=%FF", "user_id=a%C3", "user_id=%00", "user_id=a%0A", "user_id=", "%FF=1", "user_id=%ED%A0%80"]
)
def test_a_query_that_is_no_text_is_refused(owned, query):
    client, _ = owned
    problem(client.get(f"{MEMORIES}?{query}"), 400, "VALIDATION")


@pytest.mark.parametrize(
    "limit", ["0", "-1", "1001", "1.5", "x", "", "1e2", "9" * 400, "٣", "null", "1_0", " 10", "+10", "10.0"]
)
def test_a_limit_that_is_no_number_in_range_is_refused(owned, limit):
    client, _ = owned
    problem(client.get(MEMORIES, params={"user_id": "ana", "limit": limit}), 400, "VALIDATION")


# Fields of the head.


@pytest.mark.parametrize("field", ["If-Match", "Idempotency-Key", "Host", "Authorization"])
def test_a_field_that_counts_once_is_refused_when_repeated(gateway, field):
    key, _ = make_key(gateway.settings)
    fields = {"Host": "localhost", "Authorization": f"Bearer {key}", "If-Match": '"9"', "Idempotency-Key": "k"}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    lines += [f"{field}: {fields[field]}x" if field != "If-Match" else 'If-Match: "8", bad']
    content = b'{"text": "x"}'
    lines += ["Content-Type: application/json", f"Content-Length: {len(content)}", "Connection: close"]
    status, _, body = raw(gateway, f"PATCH {MEMORIES}/none HTTP/1.1\n" + "\n".join(lines), content)
    assert (status, json.loads(body)["status"]) == ((401, 401) if field == "Authorization" else (400, 400))


LONG = 15_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Prefer", "wait" + " " * LONG),
        ("Prefer", "wait=" + "9" * LONG),
        ("Prefer", "," * LONG),
        ("Prefer", " wait " * (LONG // 6)),
        ("If-Match", '"' * LONG),
        ("If-Match", '"x",' * (LONG // 4)),
        ("If-Match", "W/" * (LONG // 2)),
        ("If-None-Match", '"' + "x" * LONG),
        ("Idempotency-Key", '"' + "\\" * LONG),
        ("Idempotency-Key", '"' + '\\"' * (LONG // 2)),
        ("Authorization", "Bearer " + "em_" * (LONG // 3)),
        ("Authorization", " " * LONG + "x"),
        ("Authorization", "Bearer em_0123456789abcdef_" + "x" * LONG),
        ("Host", "a." * (LONG // 2)),
        ("Host", "[" + ":" * LONG),
        ("X-Request-ID", "x" * LONG),
        ("Content-Type", "application/json" + ";a=b" * (LONG // 4)),
        ("Content-Type", "a/" * (LONG // 2)),
        ("Content-Length", "9" * LONG),
        ("X-Forwarded-For", "1.1.1.1," * (LONG // 8)),
        ("Accept", "a/b;q=0.1," * (LONG // 10)),
    ],
    ids=lambda value: str(value)[:16],
)
def test_a_long_field_costs_no_more_than_its_reading(gateway, field, value):
    """A pattern that tries every way to split such a field would need years."""
    key, _ = make_key(gateway.settings)
    content = b'{"text": "x"}'
    fields = {
        "Host": "localhost",
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        field: value,
    }
    head = f"PATCH {MEMORIES}/none HTTP/1.1\n" + "\n".join(f"{name}: {given}" for name, given in fields.items())
    status, _, body = raw(gateway, head, content)
    assert 400 <= status < 500, body


# Methods, and what a proxy would send.


def test_methods_that_nothing_takes(gateway):
    key, _ = make_key(gateway.settings)
    for line, status in {
        "TRACE /health": 405,
        "OPTIONS /api/v1/memories": 405,
        "OPTIONS *": 404,
        "CONNECT localhost:80": 404,
        "GET http://localhost/metrics": 404,
        "get /health/live": 405,
        "PROPFIND /health/live": 405,
        "PUT /openapi.json": 405,
    }.items():
        head = f"{line} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\nConnection: close"
        found, fields, body = raw(gateway, head)
        assert (found, json.loads(body)["status"]) == (status, status), line
        assert ("allow" in fields) is (status == 405), line


def test_a_path_of_every_documented_operation_takes_no_surprise(owned):
    client, path = owned
    ids = {"memory_id": path.rpartition("/")[2], "job_id": "none"}
    documented = create_app(Settings(), GatewaySettings()).openapi()["paths"]
    tried = 0
    for template, methods in documented.items():
        if not template.startswith("/api/v1/"):
            continue
        for method in methods:
            target = template
            for name, value in ids.items():
                target = target.replace("{" + name + "}", value)
            refused = client.request(method, f"{target}?surprise=1", content=b"[", headers=JSON)
            assert 400 <= refused.status_code < 500, (method, template)
            tried += 1
    assert tried > 10
