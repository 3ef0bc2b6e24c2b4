"""A failover between a decision and its plan: one version number names two states."""

from __future__ import annotations

import time

import pytest

from emendo_workers.jobs.operations import Update
from emendo_workers.memories import apply
from tests.support.failover import Replica
from tests.support.inferring import DECIDE, told, with_chat
from tests.support.intake import added, drain


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def test_a_plan_that_rests_on_a_lost_state_is_decided_again(services, client, model):
    """The version number is right, and names another state than the one that the decision saw."""
    memory_id = added(services, client, "I like tea.")
    replica = Replica(services, memory_id)
    drain(services, client.update(memory_id, "I like coffee."))
    model.deletes("I drink nothing.", "I like coffee.")
    failed_over = []

    def fail_over(stage):
        if stage == DECIDE and not failed_over:
            failed_over.append(stage)
            replica.take_over()
            other = Update("other", "default", time.time_ns() // 1_000, memory_id, text="I like water.")
            (outcome,) = apply.apply_operations([other], services)
            assert outcome.result["version"] == 2

    model.before = fail_over
    result = told(services, client, "I drink nothing")
    assert failed_over
    assert [item.event for item in result.results] == ["ADD"], "what the model wanted to delete is lost"
    assert client.get(memory_id).memory == "I like water."


def test_a_memory_of_an_older_release_has_no_commit_to_compare(services, client, model):
    memory_id = added(services, client, "I like tea.")
    services.data.hdel(services.keys.memory(memory_id), "commit_id")
    model.updates("I like coffee.", "I like tea.")
    assert [item.event for item in told(services, client, "I like coffee").results] == ["UPDATE"]
    assert model.asked.count(DECIDE) == 1
