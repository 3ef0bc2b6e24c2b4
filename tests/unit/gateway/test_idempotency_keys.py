"""An `Idempotency-Key` is read the same whether it is quoted or bare, and refused if it could be read in two ways."""

from __future__ import annotations

import pytest

from emendo_client.errors import ValidationError
from emendo_gateway.idempotency import read_key


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        (None, None),
        ([], None),
        (["a"], "a"),
        ([" a "], "a"),
        (["!#[]~"], "!#[]~"),
        (['"a"'], "a"),
        (['"a b!"'], "a b!"),
        ([r'"\"\\"'], '"\\'),
        (["'a'"], "'a'"),
    ],
)
def test_a_key_is_read(fields, key):
    assert read_key(fields) == key


@pytest.mark.parametrize(
    "fields",
    [
        ["a", "a"],
        *([each] for each in ["", " ", '""', "a b", 'a"b', '"a', 'a"', '"', "é", '"é"', "a\x7f", '"a\tb"', '"a"b"']),
        [r'"\a"'],
        [r"a\b"],
    ],
    ids=repr,
)
def test_what_is_no_key_is_refused(fields):
    with pytest.raises(ValidationError, match="Idempotency-Key"):
        read_key(fields)
