"""An update makes a new version, and the history keeps every version before it."""

from __future__ import annotations


def test_an_update_replaces_the_text_and_the_history_keeps_the_old_one(emendo_client):
    added = emendo_client.add("I dislike seafood.", user_id="ana", infer=False).wait()
    memory_id = added.results[0].memory_id
    emendo_client.update(memory_id, "I enjoy seafood, especially sushi.").wait()
    assert emendo_client.get(memory_id).memory == "I enjoy seafood, especially sushi."
    first, second = emendo_client.history(memory_id)
    assert (first.event, first.version, first.new_memory) == ("ADD", 1, "I dislike seafood.")
    assert (second.event, second.version, second.old_memory) == ("UPDATE", 2, "I dislike seafood.")


def test_metadata_is_merged_key_by_key_and_none_removes_a_key(emendo_client):
    added = emendo_client.add("I live in Lisbon.", user_id="ana", metadata={"city": "Lisbon", "new": 1}, infer=False)
    memory_id = added.wait().results[0].memory_id
    emendo_client.update(memory_id, metadata={"new": None, "country": "Portugal"}).wait()
    assert emendo_client.get(memory_id).metadata == {"city": "Lisbon", "country": "Portugal"}
