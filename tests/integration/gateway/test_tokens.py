"""Tokens of an OpenID Connect provider: what opens, what does not, and what happens while its keys are away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from emendo_config import GatewaySettings
from emendo_config.errors import ConfigurationError
from emendo_gateway.keys import issuer_keys, tokens
from tests.integration.gateway.conftest import problem
from tests.support.gateway import browser, make_key
from tests.support.token_issuer import Issuer, by_hand, given

MEMORIES, JOB = "/api/v1/memories", "/api/v1/jobs/none"
NEW = {"messages": "I dislike seafood.", "user_id": "ana", "infer": False}


@pytest.fixture
def issuer():
    with Issuer() as found:
        yield found


@pytest.fixture
def start(emendo_settings, issuer):
    """Starts a gateway that believes the issuer, in this process."""
    return lambda **own: browser(emendo_settings, **{"failed_logins_per_minute": 100_000, **issuer.settings, **own})


def asked(http, token, path=JOB):
    return http.get(path, headers={"Authorization": f"Bearer {token}"})


def opens(http, token):
    """True when the token is let in: to a job that is not there."""
    answer = asked(http, token)
    assert answer.json()["code"] in ("JOB_NOT_FOUND", "KEY_REFUSED"), answer.text
    return answer.json()["code"] == "JOB_NOT_FOUND"


def told(http, token, method, path, **more):
    return http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)


# Tokens that open.


def test_a_token_opens_the_project_that_it_names(start, issuer):
    by_algorithm = [issuer.token(issuer.add(each), emendo_project="north") for each in ("RS256", "ES256", "EdDSA")]
    with start() as http:
        for token in by_algorithm:
            for scheme in ("Bearer", "Token", "bearer"):
                answer = http.get("/v1/ping/", headers={"Authorization": f"{scheme} {token}"})
                assert answer.json()["project_id"] == "north"
    assert issuer.asked == 1


def test_keys_open_beside_tokens_and_tokens_only_where_an_issuer_is_set(start, issuer, emendo_settings):
    token, (key, _) = issuer.token(issuer.add()), make_key(emendo_settings)
    with start() as http:
        assert (opens(http, key), opens(http, token)) == (True, True)
    with browser(emendo_settings) as http:
        assert (opens(http, key), opens(http, token)) == (True, False)


def test_a_token_of_one_project_never_reaches_another(start, issuer):
    key_id = issuer.add()
    north, south = (issuer.token(key_id, emendo_project=name) for name in ("north", "south"))
    with start() as http:
        job = told(http, north, "POST", MEMORIES, json=NEW).headers["location"]
        assert asked(http, north, job).status_code == 200
        problem(asked(http, south, job), 404, "JOB_NOT_FOUND")
        assert len(asked(http, north, "/api/v1/jobs").json()["results"]) == 1
        assert asked(http, south, "/api/v1/jobs").json()["results"] == []


def test_the_scope_is_the_strongest_that_the_claim_names(start, issuer):
    key_id = issuer.add()
    with start() as http:
        for scope, codes in (
            ("emendo:read", (403, 403)),
            ("openid emendo:read emendo:write", (202, 403)),
            (["emendo:admin", "emendo:read"], (202, 200)),
        ):
            token = issuer.token(key_id, scope=scope)
            written = told(http, token, "POST", MEMORIES, json=NEW)
            ruled = told(http, token, "PATCH", "/api/v1/project/rules", json={"instructions": "short"})
            assert (written.status_code, ruled.status_code) == codes, scope
        for scope in ("", "write", "xemendo:write", "emendo:write,emendo:read", 5, None, {"emendo:read": 1}):
            assert not opens(http, issuer.token(key_id, scope=scope)), scope


def test_a_claim_binds_a_token_to_one_user(start, issuer):
    key_id = issuer.add()
    ana, nobody = issuer.token(key_id, sub="ana"), issuer.token(key_id, sub=None)
    with start(jwt_user_claim="sub") as http:
        assert told(http, ana, "POST", MEMORIES, json=NEW).status_code == 202
        problem(told(http, ana, "POST", MEMORIES, json=NEW | {"user_id": "bo"}), 403, "KEY_SCOPE")
        problem(asked(http, ana, f"{MEMORIES}?user_id=bo"), 403, "KEY_SCOPE")
        assert not opens(http, nobody)
        assert not opens(http, issuer.token(key_id, sub=" ana"))


def test_claims_may_have_other_names(start, issuer):
    claims = {"https://example.com/tenant": "north", "scp": ["emendo:read"], "emendo_project": "south", "scope": None}
    token = issuer.token(issuer.add(), **claims)
    with start(jwt_project_claim="https://example.com/tenant", jwt_scope_claim="scp") as http:
        assert asked(http, token, "/v1/ping/").json()["project_id"] == "north"


def test_requests_are_counted_for_each_subject(start, issuer):
    key_id = issuer.add()
    with start(requests_per_minute=2) as http:
        codes = [asked(http, issuer.token(key_id)).status_code for _ in range(3)]
        assert codes == [404, 404, 429]
        assert opens(http, issuer.token(key_id, sub="bo"))


# Tokens that open nothing.


def confused(issuer, key_id):
    """A token signed with the public key as if it were a secret."""
    _, key = issuer.private[key_id]
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = key.public_key().public_bytes(*form)
    unsigned = by_hand({"alg": "HS256", "typ": "JWT", "kid": key_id}, {}).rstrip(".")
    signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def own_key(issuer, key_id):
    """A token with the attacker's own key in its head."""
    with Issuer() as attacker:
        other = attacker.add(key_id=key_id)
        return attacker.token(other, {"jwk": attacker.public(other), "jku": attacker.url, "x5u": attacker.url})


def cut(issuer, key_id):
    return issuer.token(key_id)[:-4]


def changed(issuer, key_id):
    head, _, signature = issuer.token(key_id).split(".")
    return f"{head}.{by_hand({}, {'emendo_project': 'victim'}).split('.')[1]}.{signature}"


def of_kind(algorithm):
    """A token whose head names the algorithm, with the signature of another."""

    def made(issuer, key_id):
        _, claims, signature = issuer.token(key_id).split(".")
        return f"{by_hand({'alg': algorithm, 'kid': key_id}, {}).split('.')[0]}.{claims}.{signature}"

    return made


def with_claims(**claims):
    return lambda issuer, key_id: issuer.token(key_id, **claims)


def with_head(**head):
    return lambda issuer, key_id: issuer.token(key_id, head)


NOW = time.time()
ATTACKS = {
    "no signature": lambda issuer, key_id: by_hand({"alg": "none", "kid": key_id}, {}),
    "alg none, with a signature": of_kind("none"),
    "alg None": of_kind("None"),
    "alg ES512": of_kind("ES512"),
    "alg is a list": of_kind(["ES256"]),
    "the public key as a secret": confused,
    "a key in the head": own_key,
    "a cut signature": cut,
    "changed claims": changed,
    "another audience": with_claims(aud="other"),
    "no audience": with_claims(aud=None),
    "another issuer": with_claims(iss="https://other.example"),
    "no issuer": with_claims(iss=None),
    "expired": with_claims(exp=NOW - 3_600),
    "no expiry": with_claims(exp=None),
    "an expiry that is no number": with_claims(exp="never"),
    "not yet": with_claims(nbf=NOW + 3_600),
    "issued in the future": with_claims(iat=NOW + 3_600),
    "no project": with_claims(emendo_project=None),
    "an empty project": with_claims(emendo_project=""),
    "several projects": with_claims(emendo_project=["acme"]),
    "a project with control characters": with_claims(emendo_project="acme\x00"),
    "no kid": with_head(kid=None),
    "a path as kid": with_head(kid="../../../../dev/null"),
    "an address as kid": with_head(kid="http://127.0.0.1/"),
    "a long kid": with_head(kid="k" * 1_000),
    "an unknown critical head": with_head(crit=["surprise"], surprise=1),
    "a huge token": with_claims(more="x" * 9_000),
    "dots": lambda *_: "..",
    "not base64": lambda *_: "!.!.!",
    "not JSON": lambda *_: "YQ.YQ.YQ",
    "deep JSON": lambda *_: f"{base64.urlsafe_b64encode(b'[' * 5_000).decode().rstrip('=')}.YQ.YQ",
}


def test_an_attack_opens_nothing(start, issuer):
    good, of_rsa = issuer.add(), issuer.add("RS256")
    with start() as http:
        for name, attack in ATTACKS.items():
            answer = asked(http, attack(issuer, of_rsa if attack is confused else good))
            assert (answer.status_code, answer.json()["code"]) == (401, "KEY_REFUSED"), name
        assert opens(http, issuer.token(good))
        assert opens(http, issuer.token(of_rsa))


def test_a_published_key_of_another_purpose_opens_nothing(start, issuer, monkeypatch):
    good, bad = issuer.add(), [issuer.add("RS256") for _ in range(3)]
    spoils = ({"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "c2VjcmV0"})
    keys = [{**issuer.public(key_id), **spoil} for key_id, spoil in zip(bad, spoils, strict=True)]
    keys += [issuer.public(good), {**issuer.public(good), "kid": 5}, {"kid": "x"}, "key"]
    monkeypatch.setattr(issuer, "document", lambda: {"keys": keys})
    with start() as http:
        assert opens(http, issuer.token(good))
        for key_id in bad:
            assert not opens(http, issuer.token(key_id))
            assert not opens(http, jwt.encode(given({}), b"secret" * 8, "HS256", headers={"kid": key_id}))


def test_wrong_tokens_of_an_address_are_limited(start, issuer):
    key_id = issuer.add()
    with start(failed_logins_per_minute=2) as http:
        good = issuer.token(key_id)
        assert opens(http, good)
        codes = [asked(http, issuer.token(key_id, aud="other")).status_code for _ in range(3)]
        assert codes == [401, 401, 429]
        assert opens(http, good), "a token that was checked just now still opens"


def test_a_clock_may_be_a_little_wrong_and_a_remembered_token_expires(start, issuer, monkeypatch):
    key_id = issuer.add()
    with start(jwt_leeway=60) as http:
        assert opens(http, issuer.token(key_id, exp=time.time() - 20, nbf=time.time() + 20))
        ends = issuer.token(key_id, exp=time.time() - 57)
        assert opens(http, ends)
        clock = time.monotonic
        monkeypatch.setattr(tokens.time, "monotonic", lambda: clock() + 4)
        monkeypatch.setattr(tokens.jwt, "decode", expired)
        assert not opens(http, ends)


def expired(*_, **__):
    raise jwt.ExpiredSignatureError


# The issuer's keys.


def test_a_rotated_key_is_fetched_and_an_unknown_one_is_not_asked_for_each_time(start, issuer, monkeypatch):
    first = issuer.add()
    with start() as http:
        assert opens(http, issuer.token(first))
        second = issuer.add()
        token = issuer.token(second)
        assert not opens(http, token), "the issuer was asked just now"
        assert issuer.asked == 1
        monkeypatch.setattr(issuer_keys, "INTERVAL", 0.0)
        assert opens(http, token)
        assert (issuer.asked, opens(http, issuer.token(first)), issuer.asked) == (2, True, 2)
        monkeypatch.setattr(issuer_keys, "INTERVAL", 3_600.0)
        for _ in range(20):
            assert not opens(http, issuer.token(second, {"kid": "unknown"}))
        assert issuer.asked == 2


def test_a_key_that_is_withdrawn_opens_no_more(start, issuer, monkeypatch):
    first, second = issuer.add(), issuer.add()
    with start() as http:
        old = [issuer.token(first) for _ in range(2)]
        assert opens(http, old[0])
        del issuer.private[first]
        monkeypatch.setattr(issuer_keys, "INTERVAL", 0.0)
        assert not opens(http, issuer.token(second, {"kid": "unknown"}))
        assert not opens(http, old[1])


@pytest.mark.parametrize(
    "fault", ["down", "garbage", pytest.param("slow", marks=pytest.mark.slow), "huge", "elsewhere"]
)
def test_while_the_keys_are_away_known_ones_open_and_none_opens_by_mistake(start, issuer, fault, monkeypatch):
    monkeypatch.setattr(issuer_keys, "INTERVAL", 0.0)
    first = issuer.add()
    issuer.fault = fault
    with start(failed_logins_per_minute=1) as http:  # none of these is one
        with monkeypatch.context() as patience:
            patience.setattr(issuer_keys, "TIMEOUT", 0.5 if fault == "slow" else 60.0)
            answer = asked(http, issuer.token(first))
            problem(answer, 503, "TOKEN_KEYS_UNREACHABLE")
            assert int(answer.headers["retry-after"]) > 0
            assert issuer.url not in answer.text
        issuer.fault = ""
        assert opens(http, issuer.token(first))
        issuer.fault = fault
        with monkeypatch.context() as patience:
            patience.setattr(issuer_keys, "TIMEOUT", 0.5 if fault == "slow" else 60.0)
            patience.setattr(issuer_keys, "FRESH", 0.0)
            assert opens(http, issuer.token(first))
            problem(asked(http, issuer.token(first, {"kid": "new"})), 503, "TOKEN_KEYS_UNREACHABLE")
            patience.setattr(issuer_keys, "USABLE", 0.0)
            problem(asked(http, issuer.token(first)), 503, "TOKEN_KEYS_UNREACHABLE")


def test_keys_may_be_in_a_file(start, issuer, tmp_path, monkeypatch):
    monkeypatch.setattr(issuer_keys, "INTERVAL", 0.0)
    path = tmp_path / "keys.json"
    first = issuer.add("EdDSA")
    path.write_text(json.dumps(issuer.document()), encoding="utf-8")
    with start(jwt_jwks=str(path)) as http:
        assert opens(http, issuer.token(first))
        second = issuer.add()
        path.write_text(json.dumps(issuer.document()), encoding="utf-8")
        assert opens(http, issuer.token(second))
    assert issuer.asked == 0


# Settings.


@pytest.mark.parametrize(
    "own",
    [
        {"jwt_audience": ""},
        {"jwt_jwks": ""},
        {"jwt_issuer": ""},
        {"jwt_jwks": "http://issuer.example/jwks"},
        {"jwt_jwks": "ftp://127.0.0.1/jwks"},
        {"jwt_jwks": "https://user:word@issuer.example/jwks"},
        {"jwt_jwks": "https://:443/jwks"},
        {"jwt_jwks": "https://[::1/jwks"},
        {"jwt_jwks": "/nowhere/keys.json"},
        {"jwt_project_claim": "project "},
        {"auth": "off"},
    ],
)
def test_settings_that_cannot_work_are_refused(own):
    usual = {
        "jwt_issuer": "https://issuer.example",
        "jwt_audience": "emendo",
        "jwt_jwks": "https://issuer.example/jwks",
    }
    GatewaySettings(**usual)
    with pytest.raises(ConfigurationError) as refused:
        GatewaySettings(**{**usual, **own})
    assert "word" not in str(refused.value)
