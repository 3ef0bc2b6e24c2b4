"""A damaged memory, or a damaged entry of its history, hides none of the others from any read."""

from __future__ import annotations

import logging

import pytest

from emendo_client.errors import VectorStoreError
from tests.support.intake import added, drain_all

DAMAGES = [("metadata", b"{"), ("metadata", b"\xff"), ("version", b"x"), ("expires_at", b"soon"), ("created_at", None)]


@pytest.fixture
def settings(emendo_settings):
    return emendo_settings.model_copy(update={"index_text": True})


@pytest.mark.parametrize(("field", "value"), DAMAGES, ids=repr)
def test_reads_of_many_leave_a_damaged_memory_out_and_say_so(services, client, caplog, field, value):
    whole, damaged, last = (added(services, client, f"fact {n}", metadata={"n": n}) for n in range(3))
    key = services.keys.memory(damaged)
    if value is None:
        services.data.hdel(key, field)
    else:
        services.data.hset(key, field, value)
    ranges = {"metadata": {"n": {"gte": 0}}}
    reads = {
        "by number": lambda: client.get_all("ana").results,
        "one by one": lambda: client.iter_all("ana", page_size=1),
        "filtered": lambda: client.get_all("ana", filters=ranges).results,
        "by time": lambda: client.get_all("ana", filters={"created_at": {"gte": "2020-01-01T00:00:00Z"}}).results,
        "search": lambda: client.search("fact", "ana"),
        "filtered search": lambda: client.search("fact", "ana", filters=ranges),
        "hybrid search": lambda: client.search("fact", "ana", mode="hybrid"),
    }
    with caplog.at_level(logging.WARNING):
        found = {name: {each.id for each in read()} for name, read in reads.items()}
    assert found == {name: {whole, last} for name in reads}
    assert {key, damaged} & {record.memory for record in caplog.records if hasattr(record, "memory")}
    with pytest.raises(VectorStoreError) as refused:
        client.get(damaged)
    assert refused.value.error_code == "RECORD_UNREADABLE"


def test_the_results_of_a_job_lack_the_texts_of_a_damaged_memory_alone(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    drain_all(services)
    refused = client.batch_update([{"memory_id": each, "text": "no", "expected_version": 1} for each in ids])
    drain_all(services)
    history = services.keys.history(ids[0])
    entries = services.data.xrange(history)
    services.data.delete(history)
    for entry_id, entry in entries:
        services.data.xadd(history, {**entry, b"new_metadata": b"{"}, entry_id)
    services.data.hset(services.keys.memory(ids[0]), "metadata", b"{")
    assert [(item.event, item.memory) for item in job.wait(1).results] == [("UPDATE", None), ("UPDATE", "new")]
    shown = [item.error["details"]["current"] for item in refused.wait(1).results]
    assert [each and each["memory"] for each in shown] == [None, "new"]
