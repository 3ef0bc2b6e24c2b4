"""A job that failed for good waits as a dead letter, with its payload, until somebody replays or discards it."""

from __future__ import annotations

from emendo_client.testing import Fault


def test_a_dead_letter_is_replayed_when_its_cause_is_fixed(emendo_client, openai_server):
    openai_server.faults.add(Fault("bad_request"))
    job = emendo_client.add("I like tea.", user_id="ana", infer=False)
    assert job.wait().status == "failed"
    (letter,) = emendo_client.dead_letters()
    assert letter.job_id == job.id
    assert emendo_client.replay(job.id).wait().status == "succeeded"
    assert emendo_client.dead_letters() == []


def test_a_short_outage_is_retried_and_goes_unnoticed(emendo_client, openai_server):
    openai_server.faults.add(Fault("unavailable"))
    result = emendo_client.add("I like tea.", user_id="ana", infer=False).wait()
    assert result.status == "succeeded"
    assert emendo_client.dead_letters() == []
