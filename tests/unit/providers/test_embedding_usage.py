"""The count of tokens of an embedding answer: one that cannot be read throws no vector away."""

from __future__ import annotations

import json

import pytest

from emendo_client.providers.embeddings.answers import read_answer


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"total_tokens": 7}, 7),
        ({"total_tokens": "7"}, 7),
        ({"total_tokens": None}, 0),
        ({"total_tokens": "7.5"}, 0),
        ({"total_tokens": {}}, 0),
        ({"total_tokens": -3}, 0),
        ({"total_tokens": 1e400}, 0),
        (None, 0),
        ([], 0),
        (["x"], 0),
        ("free", 0),
    ],
)
def test_vectors_are_kept_whatever_the_usage_is(usage, tokens):
    body = json.dumps({"data": [{"index": 0, "embedding": [0.5, 1.0]}], "usage": usage}).encode()
    (vector,), counted = read_answer(body, 1)
    assert (len(vector or b""), counted) == (8, tokens)
