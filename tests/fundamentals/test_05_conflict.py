"""A write may name the version it was based on, and say what becomes of it when another write came first."""

from __future__ import annotations


def two_versions(client) -> str:
    """The id of a memory at version 2."""
    memory_id = client.add("I live in Porto.", user_id="ana", infer=False).wait().results[0].memory_id
    client.update(memory_id, "I live in Lisbon.").wait()
    return memory_id


def test_an_update_of_an_old_version_is_refused(emendo_client):
    memory_id = two_versions(emendo_client)
    result = emendo_client.update(memory_id, "I live in Faro.", expected_version=1).wait()
    assert result.status == "failed"
    assert result.error["type"] == "ConflictError"
    assert emendo_client.get(memory_id).memory == "I live in Lisbon."


def test_a_person_may_decide_a_conflict_later(emendo_client):
    memory_id = two_versions(emendo_client)
    emendo_client.update(memory_id, "I live in Faro.", expected_version=1, on_conflict="manual").wait()
    (conflict,) = emendo_client.conflicts()
    assert (conflict.base, conflict.theirs, conflict.ours) == (
        "I live in Porto.",
        "I live in Lisbon.",
        "I live in Faro.",
    )
    emendo_client.resolve_conflict(conflict.id, "ours").wait()
    assert emendo_client.get(memory_id).memory == "I live in Faro."
    assert emendo_client.conflicts() == []
