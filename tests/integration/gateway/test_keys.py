"""API keys: made and ended with `emendo keys`, known by their hash only, and refused at once when they end."""

from __future__ import annotations

import json
import time

import pytest

from emendo_config import Keys
from emendo_config.errors import ConfigurationError
from emendo_config.gateway_settings import GatewaySettings, is_loopback
from emendo_config.store.connections import connect
from emendo_gateway.keys import authentication, records
from tests.integration.gateway.conftest import problem
from tests.support.gateway import browser, make_key, on_control

MEMORIES = "/api/v1/memories"
JOB = "/api/v1/jobs/none"


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


def iter_of(record):
    """The exchange that found the record before it expired."""
    return record, record.created
    yield


def opens(http, key: str) -> bool:
    """True when the key is let in: to a job that is not there."""
    answer = http.get(JOB, headers=bearer(key))
    assert answer.json()["code"] in ("JOB_NOT_FOUND", "KEY_REFUSED"), answer.text
    return answer.json()["code"] == "JOB_NOT_FOUND"


def stored(settings) -> str:
    """All that Redis holds of the test."""
    connection = connect(settings.redis_url, settings)
    try:
        names = list(connection.scan_iter(match=f"{settings.key_prefix}*"))
        kinds = {b"hash": connection.hgetall, b"string": connection.get}
        return str([(name, kinds[kind](name)) for name in names if (kind := connection.type(name)) in kinds])
    finally:
        connection.close()


def test_a_key_is_made_shown_once_and_opens_its_project(cli, emendo_settings):
    code, out, err = cli(emendo_settings, "keys", "create", "--project", "acme", "--scope", "read", "--name", "web")
    key = out.strip()
    assert (code, key[:3], "once" in err) == (0, "em_", True)
    secret = key.split("_", 2)[2]
    assert secret not in stored(emendo_settings)
    code, out, _ = cli(emendo_settings, "keys", "list", "--json")
    (listed,) = json.loads(out)
    assert (listed["project"], listed["scope"], listed["state"], listed["name"]) == ("acme", "read", "valid", "web")
    assert secret not in out
    with browser(emendo_settings) as http:
        for scheme in ("Bearer", "Token", "bearer", "TOKEN"):
            assert http.get(JOB, headers=bearer(key, scheme)).json()["code"] == "JOB_NOT_FOUND"
    assert on_control(emendo_settings, records.find_all(Keys(emendo_settings.key_prefix)))[0][0].last_used > 0


@pytest.mark.parametrize("change", ["touch", "revoke", "rotate"])
def test_a_record_that_expires_meanwhile_does_not_come_back(emendo_settings, monkeypatch, change):
    """It would have no end, and stand for no key."""
    keys = Keys(emendo_settings.key_prefix)
    _, record = on_control(emendo_settings, records.create(keys, project="acme", scope="read", expires_in=60))
    name = keys.gateway_key(record.id)
    with connect(emendo_settings.control_url, emendo_settings) as control:
        if change == "touch":
            on_control(emendo_settings, records.touch(keys, record, 1.0))
            assert float(control.hget(name, "last_used")) == 1.0
            assert control.ttl(name) > 0
        control.delete(name)
        monkeypatch.setattr(records, "find", lambda *_: iter_of(record))
        calls = {
            "touch": records.touch(keys, record, 2.0),
            "revoke": records.revoke(keys, record.id),
            "rotate": records.rotate(keys, record.id, grace=60),
        }
        on_control(emendo_settings, calls[change])
        assert not control.exists(name)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer em_0123456789abcdef_" + "x" * 43,
        "Bearer em_0123456789abcdef",
        "Basic em_0123456789abcdef_" + "x" * 43,
        "Bearer " + "é" * 10,
        "Token em_../../x_" + "x" * 43,
        "x" * 5_000,
    ],
)
def test_what_is_no_key_opens_nothing(emendo_settings, authorization):
    with browser(emendo_settings) as http:
        answer = http.get(JOB, headers=[("Authorization", authorization.encode("latin-1"))])
    problem(answer, 401, "KEY_REFUSED")
    assert "Bearer" in answer.headers["www-authenticate"]


def test_a_wrong_secret_and_two_keys_at_once_open_nothing(emendo_settings):
    key, _ = make_key(emendo_settings)
    last = "A" if key[-1] != "A" else "B"
    with browser(emendo_settings) as http:
        assert opens(http, key)
        assert not opens(http, key[:-1] + last)
        twice = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
        problem(http.get(JOB, headers=twice), 401, "KEY_REFUSED")


def test_a_revoked_key_opens_nothing_once_it_is_forgotten(cli, emendo_settings, monkeypatch):
    key, record = make_key(emendo_settings)
    with browser(emendo_settings) as http:
        assert opens(http, key)
        assert cli(emendo_settings, "keys", "revoke", record.id)[0] == 0
        monkeypatch.setattr(authentication, "REMEMBERED", 0.0)  # as if 5 seconds had passed
        assert not opens(http, key)
    with browser(emendo_settings) as other:
        assert not opens(other, key)
    code, out, _ = cli(emendo_settings, "keys", "list")
    assert (code, "revoked" in out) == (0, True)


def test_a_key_is_remembered_for_five_seconds_at_most():
    assert 0 < authentication.REMEMBERED <= 5


def test_an_expired_key_opens_nothing_also_when_it_is_remembered(emendo_settings):
    key, record = make_key(emendo_settings, expires_in=1.0)
    with browser(emendo_settings) as http:
        opens(http, key)
        _, now = on_control(emendo_settings, records.find(Keys(emendo_settings.key_prefix), record.id))
        deadline = time.monotonic() + 60
        while now < record.expires:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            _, now = on_control(emendo_settings, records.find(Keys(emendo_settings.key_prefix), record.id))
        assert not opens(http, key)


def test_a_rotated_key_opens_until_its_grace_is_over(cli, emendo_settings):
    key, record = make_key(emendo_settings, "acme", "write", user_id="ana", expires_in=86_400.0)
    code, out, _ = cli(emendo_settings, "keys", "rotate", record.id, "--grace", "1h", "--json")
    fresh = json.loads(out)
    assert (code, fresh["project"], fresh["scope"], fresh["user_id"]) == (0, "acme", "write", "ana")
    with browser(emendo_settings) as http:
        assert opens(http, key)
        assert opens(http, fresh["key"])
    (newer, older), now = on_control(emendo_settings, records.find_all(Keys(emendo_settings.key_prefix)))
    assert (newer.id, older.id) == (fresh["id"], record.id)
    assert now < older.expires <= now + 3_600 < newer.expires
    other, record = make_key(emendo_settings)
    assert cli(emendo_settings, "keys", "rotate", record.id, "--grace", "0s")[0] == 0
    with browser(emendo_settings) as http:
        assert not opens(http, other)
    code, _, err = cli(emendo_settings, "keys", "rotate", record.id)
    assert (code, "expired" in err) == (1, True)


@pytest.mark.parametrize("words", [("revoke", "0123456789abcdef"), ("rotate", "0123456789abcdef"), ("revoke", "x")])
def test_a_key_that_is_not_there_is_said(cli, emendo_settings, words):
    code, out, err = cli(emendo_settings, "keys", *words)
    assert (code, out) == (1, "")
    assert "key" in err


def test_a_whole_key_in_place_of_its_id_is_not_repeated(cli, emendo_settings):
    key, _ = make_key(emendo_settings)
    code, out, err = cli(emendo_settings, "keys", "revoke", key)
    assert (code, key in out + err) == (1, False)


def test_a_scope_includes_those_before_it_and_no_more(emendo_settings):
    body = {"messages": "x", "user_id": "ana", "infer": False}
    for scope, status in (("read", 403), ("write", 202), ("admin", 202)):
        key, _ = make_key(emendo_settings, scope=scope)
        with browser(emendo_settings) as http:
            added = http.post(MEMORIES, json=body, headers=bearer(key))
            assert (added.status_code, added.json().get("code")) == (status, "KEY_SCOPE" if status == 403 else None)
            # A search is a POST that reads: it fails for its missing index only.
            search = http.post(f"{MEMORIES}/search", json={"query": "x", "user_id": "a"}, headers=bearer(key))
            assert search.json()["code"] == "NO_INDEX"
    problem(
        http.post(MEMORIES, json=body, headers=bearer(make_key(emendo_settings, scope="read")[0])), 403, "KEY_SCOPE"
    )


def test_wrong_keys_are_counted_by_address_and_a_known_key_still_opens(emendo_settings):
    key, _ = make_key(emendo_settings)
    late, _ = make_key(emendo_settings)
    wrong = bearer("em_0123456789abcdef_" + "x" * 43)
    with browser(emendo_settings, failed_logins_per_minute=3) as http:
        assert opens(http, key)
        assert [http.get(JOB, headers=wrong).status_code for _ in range(3)] == [401] * 3
        refused = http.get(JOB, headers=wrong)
        problem(refused, 429, "TOO_MANY_FAILED_LOGINS")
        assert 5 < int(refused.headers["retry-after"]) <= 60, "the time is not the window's"
        problem(http.get(JOB, headers=bearer(late)), 429, "TOO_MANY_FAILED_LOGINS")
        assert opens(http, key), "who is in stays in, whatever its neighbours send"
        problem(http.get(JOB), 401, "KEY_REFUSED")  # no key is no attempt


def failures_from(gateway, *forwarded: str) -> list[int]:
    """The answers to a wrong key that comes with each of these `X-Forwarded-For`."""
    wrong = bearer("em_0123456789abcdef_" + "x" * 43)
    with gateway.http() as http:
        return [http.get(JOB, headers={**wrong, "X-Forwarded-For": each}).status_code for each in forwarded]


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"], ids=["no proxy", "another proxy"])
def test_a_caller_chooses_no_address_for_its_wrong_keys(start_gateway, trusted):
    gateway = start_gateway(failed_logins_per_minute=2, trusted_proxies=trusted)
    assert failures_from(gateway, "192.0.2.1", "192.0.2.2", "192.0.2.3, 192.0.2.4") == [401, 401, 429]


def test_behind_a_proxy_the_address_that_the_proxy_saw_counts(start_gateway):
    gateway = start_gateway(failed_logins_per_minute=2, trusted_proxies="127.0.0.1, 10.0.0.0/8")
    spoofed = ("192.0.2.1, 198.51.100.9", "192.0.2.2, 198.51.100.9", "192.0.2.3, 198.51.100.9, 10.1.2.3")
    assert failures_from(gateway, *spoofed, "198.51.100.10") == [401, 401, 429, 401]


@pytest.mark.parametrize("trusted", ["*", "127.0.0.1, *", "0.0.0.0/0", "::/0", "proxy.internal", "10.0.0.5/8", ","])
def test_proxies_that_would_believe_everybody_or_nobody_are_refused(trusted):
    with pytest.raises(ConfigurationError, match="EMENDO_GATEWAY_TRUSTED_PROXIES"):
        GatewaySettings(trusted_proxies=trusted)


def test_requests_of_a_key_are_counted_and_told(emendo_settings):
    key, _ = make_key(emendo_settings, rate=3)
    with browser(emendo_settings) as http:
        answers = [http.get(JOB, headers=bearer(key)) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [404] * 3 + [429]
        problem(answers[3], 429, "TOO_MANY_REQUESTS")
        first = answers[0].headers
        assert first["ratelimit-policy"] == '"requests";q=3;w=60'
        assert first["ratelimit"].startswith('"requests";r=2;t=')
        assert (first["x-ratelimit-limit"], first["x-ratelimit-remaining"]) == ("3", "2")
        assert answers[3].headers["x-ratelimit-remaining"] == "0"
        assert answers[3].headers["retry-after"] == answers[3].headers["x-ratelimit-reset"]
        other, _ = make_key(emendo_settings)
        assert opens(http, other), "a key's rate is its own"


def test_a_rate_of_0_is_no_limit_and_a_key_without_one_has_the_gateways(emendo_settings):
    free, usual = (make_key(emendo_settings, **more)[0] for more in ({"rate": 0}, {}))
    with browser(emendo_settings, requests_per_minute=2) as http:
        answers = [http.get(JOB, headers=bearer(free)) for _ in range(4)]
        assert [(answer.status_code, "ratelimit" in answer.headers) for answer in answers] == [(404, False)] * 4
        assert [http.get(JOB, headers=bearer(usual)).status_code for _ in range(3)] == [404, 404, 429]


def test_without_keys_the_gateway_stays_on_loopback(emendo_settings):
    with pytest.raises(ConfigurationError, match="loopback"):
        GatewaySettings(auth="off", host="0.0.0.0")
    with browser(emendo_settings, auth="off") as http:
        assert http.get(JOB).json()["code"] == "JOB_NOT_FOUND"
        http.base_url = "http://10.0.0.1"  # as if another server ran the application on that address
        problem(http.get(JOB), 403, "KEY_SCOPE")


def test_pages_of_other_sites_reach_no_gateway_without_keys(emendo_settings):
    """A browser sends what needs no body without asking, and names the page's site."""
    key, _ = make_key(emendo_settings)
    path = "/api/v1/jobs/none/cancel"
    with browser(emendo_settings, auth="off", hosts="app.example") as http, browser(emendo_settings) as keyed:
        for site in ("https://evil.example", "null", "http://10.0.0.1", "http://localhost.evil.example", "x", ""):
            problem(http.post(path, headers={"Origin": site}), 400, "HOST_REFUSED")
            problem(keyed.post(path, headers={"Origin": site, **bearer(key)}), 404, "JOB_NOT_FOUND")
        for site in ("http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]", "https://app.example"):
            problem(http.post(path, headers={"Origin": site}), 404, "JOB_NOT_FOUND")
            asked = {"Origin": site, "Access-Control-Request-Method": "DELETE"}
            refused = http.options(path, headers=asked)
            assert (refused.status_code, [name for name in refused.headers if "access-control" in name]) == (405, [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_what_is_loopback(host, expected):
    assert is_loopback(host) is expected


def test_a_key_of_one_user_sees_that_user_only(gateway, openai_server):
    with gateway.tenant("family") as admin:
        ids = {}
        for user in ("ana", "ben"):
            body = {"messages": f"I am {user}", "user_id": user, "infer": False}
            job = admin.post(MEMORIES, json=body, headers={"Prefer": "wait=60"}).json()
            ids[user] = (job["results"][0]["memory_id"], job["job_id"])
    with gateway.tenant("family", "write", user_id="ana") as ana:
        own, other = ids["ana"], ids["ben"]
        assert ana.get(f"{MEMORIES}/{own[0]}").status_code == 200
        assert [each["id"] for each in ana.get(MEMORIES).json()["results"]] == [own[0]]
        found = ana.post(f"{MEMORIES}/search", json={"query": "I am ben", "all_users": True}).json()["results"]
        assert [each["id"] for each in found] == [own[0]]
        assert ana.get(f"/api/v1/jobs/{own[1]}").status_code == 200
        problem(ana.get(f"/api/v1/jobs/{other[1]}"), 404, "JOB_NOT_FOUND")
        problem(ana.get(f"{MEMORIES}/{other[0]}"), 404, "MEMORY_NOT_FOUND")
        problem(ana.patch(f"{MEMORIES}/{other[0]}", json={"text": "x"}), 404, "MEMORY_NOT_FOUND")
        problem(ana.delete(f"{MEMORIES}/{other[0]}"), 404, "MEMORY_NOT_FOUND")
        problem(ana.get(MEMORIES, params={"user_id": "ben"}), 403, "KEY_SCOPE")
        problem(ana.post(MEMORIES, json={"messages": "x", "user_id": "ben", "infer": False}), 403, "KEY_SCOPE")
        assert ana.post(MEMORIES, json={"messages": "x", "infer": False}).status_code == 202


def test_a_job_of_a_user_stays_known_to_the_user_whatever_becomes_of_its_items(gateway, openai_server):
    """An accepted job that is then unknown leaves its caller in the dark; only a foreign id of it tells of others."""
    wait = {"Prefer": "wait=60"}

    def statuses(http, job):
        url = job.headers["location"]
        return {http.get(f"{url}{part}").status_code for part in ("", "/results", "/progress", "/events")}

    with gateway.tenant("clan") as admin, gateway.tenant("clan", "write", user_id="ana") as ana:
        added = [
            admin.post(MEMORIES, json={"messages": "x", "user_id": each, "infer": False}, headers=wait).json()
            for each in ("ana", "ben")
        ]
        own, other = (job["results"][0]["memory_id"] for job in added)
        items = [{"op": "update", "memory_id": each, "text": "y"} for each in (own, other, "absent")]
        batch = ana.post("/api/v1/batches", json={"items": items}, headers=wait)
        assert [each["error"] and each["error"]["code"] for each in batch.json()["results"]] == [
            None,
            *["MEMORY_NOT_FOUND"] * 2,
        ]
        assert statuses(ana, batch) == {200}
        foreign = admin.post("/api/v1/batches", json={"items": items}, headers=wait)
        assert statuses(ana, foreign) == {404}
        erased = ana.delete(f"{MEMORIES}/{own}?hard=true", headers=wait)
        assert statuses(ana, erased) == {200}
        assert statuses(ana, admin.delete(f"{MEMORIES}/{other}", headers=wait)) == {404}


def test_users_of_one_project_cannot_take_each_others_idempotency_keys(gateway):
    """The refusal would tell a user the job of another one, whose unfinished add could then be cancelled."""
    fields = {"Idempotency-Key": "order-1", "Prefer": "wait=60"}
    body = {"messages": "x", "infer": False}
    mem0 = {"messages": [{"role": "user", "content": "y"}], "infer": False}
    with gateway.tenant("family", user_id="ana") as ana, gateway.tenant("family", user_id="ben") as ben:
        jobs = [each.post(MEMORIES, json=body, headers=fields).json()["job_id"] for each in (ana, ben, ana, ben)]
        assert (jobs[:2], len({*jobs})) == (jobs[2:], 2)
        for user, idempotency_key in (("a", "b:c"), ("a:b", "c")):  # together they are the same text
            with gateway.tenant("family", user_id=user) as http:
                answer = http.post(MEMORIES, json=body, headers={"Idempotency-Key": idempotency_key})
                assert answer.status_code == 202, answer.text
        events = [
            each.post("/v3/memories/add/", json={**mem0, "user_id": user}, headers={"Idempotency-Key": "order-2"})
            for each, user in ((ana, "ana"), (ben, "ben"))
        ]
        assert [each.status_code for each in events] == [200, 200]
        problem(ana.post(MEMORIES, json=body, headers={"Idempotency-Key": "k" * 257}), 400, "VALIDATION")
        problem(ana.post(MEMORIES, json={**body, "messages": "z"}, headers=fields), 422, "IDEMPOTENCY_KEY_REUSED")
