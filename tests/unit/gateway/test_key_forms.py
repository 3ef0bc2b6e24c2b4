"""Which text in a request is a key, until when it opens, and under which address a wrong one is counted."""

from __future__ import annotations

import pytest

from emendo_client.errors import PermissionDeniedError
from emendo_gateway.callers import Caller
from emendo_gateway.keys.api_key import ApiKey, digest, is_key_id, new_key, read_key
from emendo_gateway.keys.authentication import _bucket, _text

ID, SECRET = "0123456789abcdef", "x-_" + "A" * 40


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([b"Bearer a"], "a"),
        ([b" token  a "], "a"),
        ([b"TOKEN a b"], "a b"),
        ([b"Bearer"], ""),
        ([b"a"], ""),
        ([b"Basic a"], ""),
        ([b"Bearer\ta"], ""),
        ([b"Bearer a", b"Bearer a"], ""),
    ],
)
def test_one_field_with_a_known_scheme_has_a_text(fields, text):
    assert _text(fields) == text


@pytest.mark.parametrize(
    ("text", "is_key"),
    [
        (f"em_{ID}_{SECRET}", True),
        (f"em_{ID}_{SECRET}x", False),
        (f"em_{ID}_{SECRET[1:]}", False),
        (f"em_{ID}_{SECRET}\n", False),
        (f" em_{ID}_{SECRET}", False),
        (f"em_{ID[1:]}_{SECRET}", False),
        (f"em_{ID.upper()}_{SECRET}", False),
        (f"em_{ID}_{'!' * 43}", False),
        ("", False),
    ],
)
def test_a_key_has_one_form(text, is_key):
    assert read_key(text) == ((ID, SECRET) if is_key else None)
    assert read_key(new_key()[0]) is not None
    assert (is_key_id(ID), is_key_id(ID + "\n"), is_key_id(text)) == (True, False, False)


@pytest.mark.parametrize(
    ("expires", "revoked", "now", "state"),
    [
        (0.0, 0.0, 9e9, "valid"),
        (10.0, 0.0, 9.9, "valid"),
        (10.0, 0.0, 10.0, "expired"),
        (0.0, 10.0, 9.9, "valid"),
        (0.0, 10.0, 10.0, "revoked"),
        (10.0, 20.0, 30.0, "revoked"),
    ],
)
def test_a_key_ends_at_its_time(expires, revoked, now, state):
    key = ApiKey(ID, digest(SECRET), "acme", "read", expires=expires, revoked=revoked)
    assert (key.state(now), key.is_valid(now)) == (state, state == "valid")
    assert (key.has_secret(SECRET), key.has_secret(SECRET[1:]), key.has_secret("")) == (True, False, False)


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("", "unknown"),
        ("a name", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_a_wrong_key_is_counted_for_what_one_customer_gets(address, bucket):
    assert _bucket(address) == bucket


@pytest.mark.parametrize(
    ("scope", "allowed"), [("read", ["read"]), ("write", ["read", "write"]), ("admin", ["read", "write", "admin"])]
)
def test_a_scope_includes_those_before_it(scope, allowed):
    def may(wanted: str) -> bool:
        try:
            Caller("acme", scope).require(wanted)
        except PermissionDeniedError as error:
            return error.error_code != "KEY_SCOPE"
        return True

    assert [each for each in ("read", "write", "admin") if may(each)] == allowed
