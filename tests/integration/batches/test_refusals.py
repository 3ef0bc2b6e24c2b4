"""Refused items of batch jobs: items fail alone in their place; a batch of nothing leaves nothing behind."""

from __future__ import annotations

import pytest

from emendo_client.errors import ValidationError
from tests.support.intake import added, drain_all, with_settings

MALFORMED_UPDATES = [
    "a string",
    None,
    7,
    ["memory_id"],
    {},
    {1: 2},
    {"text": "no id"},
    {"memory_id": None, "text": "x"},
    {"memory_id": ["a"], "text": "x"},
    {"memory_id": "a b{c}", "text": "x"},
    {"memory_id": "m"},
    {"memory_id": "m", "text": 7},
    {"memory_id": "m", "text": " "},
    {"memory_id": "m", "text": "x" * 40_000},
    {"memory_id": "m", "text": "lone \ud800 surrogate"},
    {"memory_id": "m", "metadata": {"user_id": "ben"}},
    {"memory_id": "m", "metadata": "no mapping"},
    {"memory_id": "m", "text": "x", "expected_version": "1"},
    {"memory_id": "m", "text": "x", "on_conflict": "whatever"},
    {"memory_id": "m", "text": "x", "colour": "red"},
    # Fields of the other batch calls.
    {"memory_id": "m", "text": "x", "hard": True},
    {"memory_id": "m", "text": "x", "user_id": "ben"},
    {"memory_id": "m", "text": "x", "expires_at": "2099-01-01T00:00:00Z"},
    {"messages": "x", "user_id": "ben"},
    {"memory_id": "m", "messages": "x"},
]
MALFORMED_DELETES = [
    {"memory_id": "m", "text": "x"},
    {"memory_id": "m", "hard": "yes"},
    {"messages": "x"},
    {"memory_id": "m", "on_conflict": "reject"},
]
MALFORMED_ADDS = [
    {"user_id": "ana"},
    {"messages": "x"},
    {"messages": [], "user_id": "ana"},
    {"messages": b"bytes", "user_id": "ana"},
    {"messages": [{"role": "system", "content": "x"}], "user_id": "ana"},
    {"messages": "x", "user_id": "ana", "expires_at": "tomorrow"},
    {"messages": "x", "user_id": "ana", "memory_id": "m"},
    {"messages": "x", "user_id": "ana", "text": "y"},
]


def keys_of(services) -> set[bytes]:
    return set(services.control.scan_iter(f"{services.settings.key_prefix}*", count=1_000))


@pytest.mark.parametrize("item", MALFORMED_UPDATES, ids=lambda item: ascii(item)[:60])
def test_a_malformed_update_fails_alone(services, client, item):
    memory_id = added(services, client)
    job = client.batch_update([item, {"memory_id": memory_id, "text": "fine"}])
    drain_all(services)
    refused, fine = job.wait(1).results
    assert refused.error["type"] == "ValidationError"
    assert "fine" not in str(refused.error)
    assert (fine.error, client.get(memory_id).memory) == (None, "fine")


@pytest.mark.parametrize("item", MALFORMED_DELETES, ids=lambda item: ascii(item)[:60])
def test_a_malformed_delete_fails_alone(services, client, item):
    memory_id = added(services, client)
    job = client.batch_delete([item, {"memory_id": memory_id}])
    drain_all(services)
    assert [(each.error or {}).get("type") for each in job.wait(1).results] == ["ValidationError", None]


@pytest.mark.parametrize("item", MALFORMED_ADDS, ids=lambda item: ascii(item)[:60])
def test_a_malformed_add_fails_alone(services, client, item):
    job = client.batch_add([item, {"messages": "fine", "user_id": "ana"}], infer=False)
    drain_all(services)
    assert [(each.error or {}).get("type") for each in job.wait(1).results] == ["ValidationError", None]


@pytest.mark.parametrize("items", [[], (), iter(()), "text", b"bytes", {"memory_id": "m"}, None, 7, MALFORMED_UPDATES])
def test_a_batch_of_nothing_is_refused_and_leaves_no_key(services, client, items):
    before = keys_of(services)
    for options in ({}, {"idempotency_key": "k"}):
        with pytest.raises(ValidationError):
            client.batch_update(items, **options)
    assert keys_of(services) == before


@pytest.mark.parametrize(
    "options",
    [{"on_conflict": "x"}, {"consistency": "x"}, {"idempotency_key": ""}, {"idempotency_key": 7}],
    ids=str,
)
def test_a_wrong_option_is_refused_before_an_item_is_read(services, client, options):
    def items():
        pytest.fail("the items were read")
        yield

    before = keys_of(services)
    with pytest.raises(ValidationError):
        client.batch_update(items(), **options)
    assert keys_of(services) == before


def test_items_refused_in_an_iterator_fail_in_the_result(services, client):
    job = client.batch_update(iter(MALFORMED_UPDATES))
    drain_all(services)
    result = job.wait(1)
    assert result.status == "failed"
    assert {item.error["type"] for item in result.results} == {"ValidationError"}


def test_refused_items_take_no_lock(services, client):
    """Many chunks of refused items without an id would otherwise wait for one another."""
    with_settings(services, client, chunk_items=1)
    services.data.set(services.keys.lock(""), "another worker", px=60_000)
    services.data.set(services.keys.lock("m"), "another worker", px=60_000)
    job = client.batch_update(iter([{}, {"memory_id": "m"}]))
    drain_all(services)
    assert job.status() == "failed"
