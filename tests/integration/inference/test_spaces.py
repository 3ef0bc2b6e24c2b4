"""Inference looks for what is known in the space that is searched, whichever that is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_config.spaces.bootstrap import restore_indexes
from emendo_config.spaces.registry import SpaceState
from tests.support.inferring import DECIDE, EXTRACT, memories, told, with_chat
from tests.support.intake import bring_back, drain
from tests.support.spaces import SMALL, assert_right, open_space, own_space, switch

LIVE = replace(SMALL, state=SpaceState.LIVE)
HALF = replace(LIVE, space=replace(SMALL.space, generation=3), datatype="float16")


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


@pytest.mark.parametrize("space", [LIVE, HALF], ids=["float32", "float16"])
def test_what_is_known_is_found_in_the_active_space(services, client, model, space):
    space = open_space(services, space)
    switch(services, space)
    told(services, client, "I dislike seafood")
    model.updates("I enjoy seafood.", "I dislike seafood.")
    (item,) = told(services, client, "I enjoy seafood").results
    assert (item.decision, memories(client)) == ("UPDATE", ["I enjoy seafood."])
    assert_right(services, item.memory_id, own_space(services), space)
    assert told(services, client, "I enjoy seafood").results[0].decision == "NONE"


def test_a_switch_while_an_add_is_worked_costs_it_an_attempt_and_no_question_twice(services, client, model):
    space = open_space(services, LIVE)
    told(services, client, "I dislike seafood")
    model.updates("I enjoy seafood.", "I dislike seafood.")
    model.before = lambda stage: switch(services, space) if stage == EXTRACT else None
    job = client.add("I enjoy seafood", user_id="ana")
    drain(services, job)
    assert (job.status(), job.info().error["code"]) == ("retrying", "SPACE_SWITCHED")
    bring_back(services, job)
    (item,) = job.wait(1).results
    assert (item.decision, memories(client)) == ("UPDATE", ["I enjoy seafood."])
    assert model.asked == [EXTRACT, EXTRACT, DECIDE], "one question of each kind for each add"
    assert_right(services, item.memory_id, own_space(services), space)


def test_an_index_that_is_lost_costs_an_add_an_attempt(services, client, model):
    services.data.execute_command("FT.DROPINDEX", services.keys.index_alias)
    job = client.add("I sing", user_id="ana")
    drain(services, job)
    assert (job.status(), job.info().error["code"]) == ("retrying", "NO_INDEX")
    restore_indexes(services.data, services.settings)
    bring_back(services, job)
    assert (job.status(), memories(client)) == ("succeeded", ["I sing."])
