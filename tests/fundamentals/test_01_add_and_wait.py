"""A write is a job: the call returns as soon as Redis has it, and `wait` returns what came of it."""

from __future__ import annotations


def test_an_added_memory_can_be_read_when_its_job_is_done(emendo_client):
    job = emendo_client.add("I dislike seafood.", user_id="ana", infer=False)
    result = job.wait()
    assert result.status == "succeeded"
    memory = emendo_client.get(result.results[0].memory_id)
    assert (memory.memory, memory.user_id, memory.version) == ("I dislike seafood.", "ana", 1)


def test_a_conversation_becomes_one_memory_for_each_message(emendo_client):
    messages = [
        {"role": "user", "content": "I live in Lisbon."},
        {"role": "assistant", "content": "Noted: the user lives in Lisbon."},
    ]
    result = emendo_client.add(messages, user_id="ana", metadata={"topic": "home"}, infer=False).wait()
    assert [item.memory for item in result.results] == ["I live in Lisbon.", "Noted: the user lives in Lisbon."]
    assert emendo_client.get_all(user_id="ana").total == 2
