"""From decisions to a plan: what is done, what is left out, and that no fact is lost."""

from __future__ import annotations

import pytest

from emendo_client.requests.operations import new_memory_id
from emendo_client.testing.openai_server.vectors import embed
from emendo_workers.inference.candidates import Candidate, neighbours_of
from emendo_workers.inference.plan import MEMORY_CHANGED, MEMORY_TAKEN, Limits, Plan
from emendo_workers.inference.similarity import PendingAdds, is_near_duplicate, normalized
from emendo_workers.inference.types import Action, Decision, Neighbour, SearchHit

NEAR = 0.99
CARRIED = {"user_id": "ana", "metadata": {"k": 1}, "role": "user", "source": "what was said"}
SEAFOOD = Neighbour("m1", "The user dislikes seafood.", 3)
CATS = Neighbour("m2", "The user has two cats.", 1)
MEMORIES = [SEAFOOD, CATS]


def fact(text: str, *hits: tuple[Neighbour, float], **more) -> Candidate:
    return Candidate(text, CARRIED, [SearchHit(*each) for each in hits], vector=embed(text, dimensions=64), **more)


def add(index: int = 0, **more) -> Decision:
    return Decision(index, Action.ADD, **more)


def planned(candidates, decided, *, deletes: int = 5, documents=(), replaced=(), added: PendingAdds | None = None):
    """The operations, and the places with nothing left to do."""
    plan = Plan("job", Limits(NEAR, deletes), added or PendingAdds(NEAR), documents, replaced)
    idle = plan.fill(candidates, decided, MEMORIES, "decide-1")
    plan.hold_losses(deletes)
    return plan.documents, idle


def short(documents) -> list[tuple[str, str]]:
    return [(document["op"], document["memory_id"]) for document in documents]


def test_each_decision_becomes_the_operation_that_carries_it_out():
    documents, _ = planned(
        [fact("The user loves sushi."), fact("The user lives in Porto."), fact("No more cats.")],
        {
            0: [Decision(0, Action.UPDATE, 0, "The user loves sushi and seafood.", "a new taste")],
            1: [add(1, reason="new")],
            2: [Decision(2, Action.DELETE, 1, reason="they are gone")],
        },
    )
    update, new, delete = documents
    assert update == {
        "op": "update",
        "memory_id": "m1",
        "text": "The user loves sushi and seafood.",
        "expected_version": 3,
        "decision": "UPDATE",
        "reason": "a new taste",
        "prompt": "decide-1",
        "fact": "The user loves sushi.",
        **CARRIED,
    }
    assert (new["op"], new["memory_id"]) == ("add", new_memory_id("job", 1)), "the id comes from the job and the place"
    assert "fact" not in new, "the text says it"
    assert "expected_version" not in new
    assert (delete["op"], delete["expected_version"], delete["fact"]) == ("delete", 1, "No more cats.")
    assert "text" not in delete


def test_an_add_says_the_fact_whatever_text_the_decision_has():
    (document,), _ = planned([fact("The user lives in Porto.")], {0: [add(text="DROP TABLE")]})
    assert document["text"] == "The user lives in Porto."


def test_a_second_update_of_a_memory_is_an_add():
    documents, _ = planned(
        [fact("The user loves sushi."), fact("The user is fine with mussels.")],
        {index: [Decision(index, Action.UPDATE, 0, "a text")] for index in range(2)},
    )
    assert short(documents) == [("update", "m1"), ("add", new_memory_id("job", 1))]
    assert (documents[1]["decision"], documents[1]["fallback"]) == ("ADD", MEMORY_TAKEN)
    assert documents[1]["text"] == "The user is fine with mussels."


def test_a_second_delete_of_a_memory_is_left_out():
    documents, _ = planned(
        [fact("No fish."), fact("No mussels.")], {index: [Decision(index, Action.DELETE, 0)] for index in range(2)}
    )
    assert short(documents) == [("delete", "m1")]


def test_a_delete_of_a_memory_that_is_updated_is_left_out():
    documents, _ = planned(
        [fact("The user loves sushi."), fact("No mussels.")],
        {0: [Decision(0, Action.UPDATE, 0, "a text")], 1: [Decision(1, Action.DELETE, 0)]},
    )
    assert short(documents) == [("update", "m1")]


def test_deletes_beyond_the_limit_wait_for_a_person():
    documents, _ = planned(
        [fact("Forget it."), fact("All of it.")],
        {0: [Decision(0, Action.DELETE, 0)], 1: [Decision(1, Action.DELETE, 1, reason="forget")]},
        deletes=1,
    )
    assert short(documents) == [("delete", "m1"), ("hold", "m2")]
    assert (documents[1]["decision"], documents[1]["reason"]) == ("DELETE", "forget")


def test_a_fact_may_update_one_memory_and_delete_others():
    documents, _ = planned(
        [fact("The user loves sushi.")],
        {0: [Decision(0, Action.UPDATE, 0, "The user loves sushi."), Decision(0, Action.DELETE, 1)]},
    )
    assert short(documents) == [("update", "m1"), ("delete", "m2")]


def test_what_is_said_already_needs_no_decision_and_is_none():
    facts = [
        fact("the user dislikes  SEAFOOD", (SEAFOOD, 0.91)),
        fact("The user lives in Porto."),
        fact("The user lives in Porto!"),
    ]
    plan = Plan("job", Limits(NEAR, 5), PendingAdds(NEAR))
    assert plan.undecided(facts) == [1]
    plan.fill(facts, {1: [add(1)]}, MEMORIES)
    new = new_memory_id("job", 1)
    assert short(plan.documents) == [("none", "m1"), ("add", new), ("none", new)]
    assert plan.documents[0]["expected_version"] == 3, "it rests on what the memory says"
    assert "expected_version" not in plan.documents[2]


def test_a_fact_that_another_job_of_the_run_is_about_to_add_is_none():
    added = PendingAdds(NEAR)
    added.add("theirs", "The user lives in Porto.", None)
    plan = Plan("job", Limits(NEAR, 5), added)
    facts = [fact("the user lives in porto")]
    assert plan.undecided(facts) == []
    plan.fill(facts, {}, [])
    assert short(plan.documents) == [("none", "theirs")]


def test_a_repeated_fact_that_updates_names_the_updated_memory_and_one_that_only_deletes_is_not_repeated():
    twice = [fact("The user loves sushi."), fact("The user loves sushi.")]
    documents, _ = planned(twice, {0: [Decision(0, Action.UPDATE, 0, "a text")]})
    assert short(documents) == [("update", "m1"), ("none", "m1")]
    documents, _ = planned(twice, {0: [Decision(0, Action.DELETE, 0)]})
    assert short(documents) == [("delete", "m1")]


def test_an_add_that_is_nearly_known_is_none():
    documents, _ = planned(
        [fact("The user dislikes all seafood.", (SEAFOOD, 0.992)), fact("The user dislikes fish.", (SEAFOOD, 0.98))],
        {index: [add(index)] for index in range(2)},
    )
    assert short(documents) == [("none", "m1"), ("add", new_memory_id("job", 1))]
    assert documents[0]["decision"] == "NONE"


def test_an_add_near_a_memory_that_this_plan_changes_stays_an_add():
    documents, _ = planned(
        [fact("The user dislikes all seafood.", (SEAFOOD, 1.0)), fact("Forget the seafood.")],
        {0: [add(0)], 1: [Decision(1, Action.DELETE, 0)]},
    )
    assert short(documents) == [("add", new_memory_id("job", 0)), ("delete", "m1")]


def test_two_facts_of_one_plan_that_are_nearly_the_same_are_added_once():
    documents, _ = planned(
        [fact("Ana works at Siemens as an engineer."), fact("Ana works as an engineer at Siemens.")],
        {index: [add(index)] for index in range(2)},
    )
    assert short(documents) == [("add", new_memory_id("job", 0)), ("none", new_memory_id("job", 0))]


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("Born on June 15th, 1990.", "Born on June 16th, 1990.", False),
        ("Two cats: 2.", "2 cats: two.", True),
        ("Room 101", "Room 101 ", True),
    ],
)
def test_texts_with_other_numbers_are_never_near(text, other, same):
    assert is_near_duplicate(text, other, 1.0, NEAR) is same


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("The user likes TEA.", "the  user likes tea", True),
        ("Cafe\u0301.", "Café", True),
        ("好きです。", "好きです", True),
        ("Does the user like tea?", "Does the user like tea", False),
        ("The user likes C++.", "The user likes C.", False),
        ("The user likes tea.", "The user dislikes tea.", False),
    ],
)
def test_normalized_texts_differ_where_the_facts_do_and_nowhere_else(text, other, same):
    assert (normalized(text) == normalized(other)) is same


def test_a_text_without_a_vector_is_near_nothing():
    added = PendingAdds(0.1)
    added.add("m", "The user likes tea.", embed("The user likes tea.", dimensions=64))
    assert added.find_near("The user likes tea a lot.", None) is None
    assert added.find_near("The user likes tea a lot.", embed("The user likes tea a lot.", dimensions=64)) == "m"


def test_neighbours_are_each_there_once_the_nearest_first():
    facts = [fact("a", (SEAFOOD, 0.5), (CATS, 0.4)), fact("b", (CATS, 0.7))]
    assert neighbours_of(facts) == [CATS, SEAFOOD]


# Decided again.

OLD = [
    {"op": "add", "memory_id": "new", "text": "A fact.", "decision": "ADD", "submitted": 1},
    {"op": "delete", "memory_id": "m2", "expected_version": 1, "decision": "DELETE", "fact": "F", "submitted": 2},
]


def test_a_fact_decided_again_keeps_its_place_and_the_rest_of_the_plan():
    documents, idle = planned(
        [fact("F", place=1, redecided=1)],
        {0: [Decision(0, Action.UPDATE, 0, "a text"), Decision(0, Action.DELETE, 1)]},
        documents=OLD,
        replaced={1},
    )
    assert short(documents) == [("add", "new"), ("update", "m1"), ("delete", "m2")]
    assert (documents[0], documents[1]["redecided"], idle) == (OLD[0], 1, set())
    assert ["submitted" in document for document in documents] == [True, False, False]


def test_an_add_decided_again_is_named_after_its_place():
    documents, _ = planned([fact("F", place=1)], {0: [add()]}, documents=OLD, replaced={1})
    assert documents[1]["memory_id"] == new_memory_id("job", 1)


def test_what_another_fact_of_the_plan_changes_is_taken_when_one_is_decided_again():
    documents, _ = planned(
        [fact("G", place=0)], {0: [Decision(0, Action.UPDATE, 1, "a text")]}, documents=OLD, replaced={0}
    )
    assert (documents[0]["op"], documents[0]["fallback"]) == ("add", MEMORY_TAKEN)


def test_deletes_of_the_plan_count_when_a_fact_is_decided_again():
    documents, _ = planned(
        [fact("G", place=0)], {0: [Decision(0, Action.DELETE, 0)]}, deletes=1, documents=OLD, replaced={0}
    )
    assert short(documents) == [("hold", "m1"), ("delete", "m2")]


def test_a_fact_said_elsewhere_in_the_plan_is_not_added_by_its_delete():
    for decisions in ([add()], [Decision(0, Action.UPDATE, 0, "a text")], [Decision(0, Action.NONE, 0)]):
        documents, idle = planned([fact("F", place=1, only_deletes=True)], {0: decisions}, documents=OLD, replaced={1})
        assert (documents, idle) == (OLD, {1})


def test_a_fact_given_up_is_added_though_a_memory_is_near():
    documents, _ = planned(
        [fact("The user dislikes seafood.", (SEAFOOD, 1.0), place=1)],
        {0: [add(fallback=MEMORY_CHANGED)]},
        documents=OLD,
        replaced={1},
    )
    assert (documents[1]["op"], documents[1]["fallback"]) == ("add", MEMORY_CHANGED)
