"""A diagnosis says whether a memory's hash, vector, index and history agree."""

from __future__ import annotations


def test_a_memory_that_is_whole_has_only_good_findings(emendo_client):
    memory_id = emendo_client.add("I like tea.", user_id="ana", infer=False).wait().results[0].memory_id
    emendo_client.update(memory_id, "I like coffee.").wait()
    diagnosis = emendo_client.diagnose(memory_id)
    assert diagnosis.ok
    assert diagnosis.version == 2
    assert diagnosis.wrong == []


def test_the_health_says_what_answers_and_what_waits(emendo_client):
    health = emendo_client.health()
    assert health.ok
    assert health.workers == 1
