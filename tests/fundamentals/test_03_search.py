"""A search compares meanings, within the memories of one user, agent or run."""

from __future__ import annotations


def test_a_search_finds_the_nearest_memories_of_one_user(emendo_client):
    for user, text in [
        ("ana", "I enjoy seafood."),
        ("ana", "My sister plays the violin."),
        ("ben", "I enjoy seafood."),
    ]:
        emendo_client.add(text, user_id=user, infer=False).wait()
    hits = emendo_client.search("which seafood do I enjoy", user_id="ana")
    assert [hit.memory for hit in hits] == ["I enjoy seafood.", "My sister plays the violin."]
    assert hits[0].score > hits[1].score


def test_filters_narrow_a_search_by_metadata(emendo_client):
    for topic in ("food", "music"):
        job = emendo_client.add(f"I think of {topic}.", user_id="ana", metadata={"topic": topic}, infer=False)
        job.wait()
    (hit,) = emendo_client.search("what do I think of", user_id="ana", filters={"metadata": {"topic": "music"}})
    assert hit.memory == "I think of music."
