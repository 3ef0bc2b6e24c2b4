"""From facts and neighbours to decisions: what is taken, what is asked again, what becomes an ADD; no fact is lost."""

from __future__ import annotations

import json

import pytest

from emendo_client.errors import InferenceError, NetworkError
from emendo_client.providers.chat import Usage
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_workers.inference.checks import MAX_REASON, Refusal
from emendo_workers.inference.decision import FACTS_AT_ONCE, decide
from emendo_workers.inference.types import Action, Decision, Fact, Neighbour, Rules
from tests.support.chat_double import ChatDouble, useless

NEIGHBOURS = [
    Neighbour("id-of-seafood", "The user dislikes seafood.", 3),
    Neighbour("id-of-dog", "The user has a dog\nnamed  Rex.", 1),
    Neighbour("id-of-cafe", "The user works in a Café.", 1),
]
SEAFOOD, DOG, CAFE = (neighbour.text for neighbour in NEIGHBOURS)
LOVES = Fact("The user loves seafood.", 0)
CAT = Fact("The user has a cat.", 1)


def said(fact, event, memory=None, old_text=None, text=None, *, reason="because"):
    return {"fact": fact, "memory": memory, "old_text": old_text, "reason": reason, "event": event, "text": text}


def answer(*decisions):
    return {"decisions": list(decisions)}


def decided(chat, facts=(LOVES,), neighbours=NEIGHBOURS, rules=Rules(), **settings):  # noqa: B008  # frozen
    return decide(chat, facts, neighbours, rules, settings=Settings(**settings))


def once(item, **settings):
    """The one decision of a model that says this of the one fact, asked once."""
    (decision,) = decided(ChatDouble(answer(item)), **settings).decisions
    return decision


def fallback(*items, facts=(LOVES,), **settings):
    """The outcome of a fact for which a model twice says this, and the second question."""
    chat = ChatDouble(answer(*items), answer(*items))
    found = decided(chat, facts, **settings)
    assert len(chat.asked) == 2
    assert found.usage == Usage(2, 20, 4)
    return found.decisions, chat.instructions[1]


# Accepted answers.


def test_each_event_is_taken_when_it_holds():
    update = said(1, "UPDATE", 1, SEAFOOD, "The user loves seafood.")
    assert once(update) == Decision(0, Action.UPDATE, 0, "The user loves seafood.", "because")
    assert once(said(1, "DELETE", 2, DOG)) == Decision(0, Action.DELETE, 1, "", "because")
    assert once(said(1, "NONE", 3, CAFE)) == Decision(0, Action.NONE, 2, "", "because")
    assert once(said(1, "ADD")) == Decision(0, Action.ADD, None, LOVES.text, "because")


def test_an_add_is_the_fact_and_nothing_else_whatever_else_is_said():
    decision = once(said(1, "ADD", 9, "nothing", "The user loves lobster."))
    assert (decision.neighbour, decision.text) == (None, LOVES.text)


@pytest.mark.parametrize("event", ["update", " Update\n", "UPDATE"])
@pytest.mark.parametrize("old_text", ["the user  works IN\ta café. ", "The user works in a Cafe\u0301."])
def test_what_models_change_without_meaning_it_is_no_reason_to_ask_again(event, old_text):
    assert once(said("1", event, " 3", old_text, " The user owns a Café. ")).text == "The user owns a Café."


def test_a_reason_is_one_short_printable_line():
    decision = once(said(1, "ADD", reason="one\n two\u0007\u001b[31m" + "x" * 999))
    assert decision.reason.startswith("one two[31mx")
    assert len(decision.reason) == MAX_REASON
    assert once(said(1, "ADD", reason=None)).reason == once({"fact": 1, "event": "ADD"}).reason == ""


def test_one_fact_may_take_several_memories_away_and_deletes_come_last():
    chat = ChatDouble(
        answer(
            said(2, "ADD"),
            said(1, "DELETE", 2, DOG),
            said(1, "UPDATE", 1, SEAFOOD, "new"),
            said(1, "DELETE", 3, CAFE),
            said(1, "DELETE", 2, DOG, reason="again"),
        )
    )
    found = decided(chat, (LOVES, CAT)).decisions
    assert [(each.fact, each.action, each.neighbour) for each in found] == [
        (0, "UPDATE", 0),
        (0, "DELETE", 1),
        (0, "DELETE", 2),
        (1, "ADD", None),
    ]


def test_the_same_said_twice_is_said_once():
    item = said(1, "UPDATE", 1, SEAFOOD, "new")
    assert len(decided(ChatDouble(answer(item, item))).decisions) == 1


def test_what_is_said_of_facts_nobody_asked_about_is_not_heard():
    found = decided(ChatDouble(answer(said(1, "ADD"), said(2, "DELETE", 1, SEAFOOD), said(0, "DELETE", 2, DOG))))
    assert found.decisions == (Decision(0, Action.ADD, text=LOVES.text, reason="because"),)


# The question.


def test_facts_and_memories_are_shown_under_short_numbers_and_never_by_their_ids():
    chat = ChatDouble(answer(said(1, "ADD"), said(2, "ADD")))
    decided(chat, (LOVES, CAT), rules=Rules("Never forget allergies."))
    assert chat.questions == [
        {
            "facts": [{"fact": 1, "text": LOVES.text}, {"fact": 2, "text": CAT.text}],
            "memories": [{"memory": 1, "text": SEAFOOD}, {"memory": 2, "text": DOG}, {"memory": 3, "text": CAFE}],
        }
    ]
    assert "id-of" not in json.dumps(chat.asked)
    assert "Never forget allergies." in chat.instructions[0]
    assert not any(text in chat.instructions[0] for text in (LOVES.text, CAT.text, DOG, CAFE))


def test_without_neighbours_or_facts_nobody_is_asked():
    chat = ChatDouble()
    alone = decided(chat, (LOVES, CAT), [])
    assert [(each.action, each.text, each.fallback) for each in alone.decisions] == [
        ("ADD", LOVES.text, ""),
        ("ADD", CAT.text, ""),
    ]
    assert decided(chat, ()).decisions == ()
    assert (alone.usage, chat.asked) == (Usage(), [])


def test_neighbours_that_do_not_fit_are_left_out_and_the_others_keep_their_places(caplog):
    neighbours = [NEIGHBOURS[0], Neighbour("long", "x" * 3_000, 1), NEIGHBOURS[1]]
    chat = ChatDouble(answer(said(1, "DELETE", 2, DOG)))
    (decision,) = decided(chat, neighbours=neighbours, inference_window_tokens=300).decisions
    assert [memory["text"] for memory in chat.questions[0]["memories"]] == [SEAFOOD, DOG]
    assert decision.neighbour == 2
    assert [record.left_out for record in caplog.records] == [1]


def test_many_facts_are_asked_about_some_at_a_time():
    facts = [Fact(f"fact {number}", number) for number in range(FACTS_AT_ONCE + 2)]
    chat = ChatDouble(
        answer(*(said(number, "ADD") for number in range(1, FACTS_AT_ONCE + 1))),
        answer(said(1, "ADD"), said(2, "NONE", 1, SEAFOOD)),
    )
    found = decided(chat, facts)
    assert [each.fact for each in found.decisions] == list(range(len(facts)))
    assert [each.text for each in found.decisions[:-1]] == [fact.text for fact in facts[:-1]]
    assert found.decisions[-1].action is Action.NONE
    assert found.usage == Usage(2, 20, 4)


# Refused answers.


@pytest.mark.parametrize(
    ("items", "refusal"),
    [
        ([], Refusal.NO_ANSWER),
        ([said(2, "ADD")], Refusal.NO_ANSWER),
        ([said("one", "ADD")], Refusal.NO_ANSWER),
        ([{"event": "ADD"}], Refusal.NO_ANSWER),
        ([said(1, "NOOP", 1, SEAFOOD)], Refusal.UNKNOWN_EVENT),
        ([said(1, "")], Refusal.UNKNOWN_EVENT),
        ([said(1, None)], Refusal.UNKNOWN_EVENT),
        ([said(1, "UPDATE", 4, SEAFOOD, "new")], Refusal.UNKNOWN_MEMORY),
        ([said(1, "UPDATE", 0, SEAFOOD, "new")], Refusal.UNKNOWN_MEMORY),
        ([said(1, "DELETE", -1, SEAFOOD)], Refusal.UNKNOWN_MEMORY),
        ([said(1, "NONE")], Refusal.UNKNOWN_MEMORY),
        ([said(1, "DELETE", "id-of-dog", DOG)], Refusal.UNKNOWN_MEMORY),
        ([said(1, "DELETE", "9" * 30, DOG)], Refusal.UNKNOWN_MEMORY),
        ([said(1, "UPDATE", 1, None, "new")], Refusal.OLD_TEXT_MISSING),
        ([said(1, "DELETE", 1, " ")], Refusal.OLD_TEXT_MISSING),
        ([said(1, "NONE", 1, 7)], Refusal.OLD_TEXT_MISSING),
        ([said(1, "DELETE", 1, DOG)], Refusal.OLD_TEXT_WRONG),
        ([said(1, "NONE", 1, "The user dislikes")], Refusal.OLD_TEXT_WRONG),
        ([said(1, "UPDATE", 1, SEAFOOD)], Refusal.NO_TEXT),
        ([said(1, "UPDATE", 1, SEAFOOD, " \n")], Refusal.NO_TEXT),
        ([said(1, "UPDATE", 1, SEAFOOD, ["new"])], Refusal.NO_TEXT),
        ([said(1, "UPDATE", 1, SEAFOOD, SEAFOOD + " ")], Refusal.NO_CHANGE),
        ([said(1, "UPDATE", 1, SEAFOOD, "x" * 101)], Refusal.INVALID_TEXT),
        ([said(1, "UPDATE", 1, SEAFOOD, "bell \u0007")], Refusal.INVALID_TEXT),
        ([said(1, "ADD"), said(1, "NONE", 1, SEAFOOD)], Refusal.SEVERAL_EVENTS),
        ([said(1, "UPDATE", 1, SEAFOOD, "a"), said(1, "UPDATE", 1, SEAFOOD, "b")], Refusal.SEVERAL_EVENTS),
        ([said(1, "UPDATE", 1, SEAFOOD, "a"), said(1, "DELETE", 1, SEAFOOD)], Refusal.SEVERAL_EVENTS),
        ([said(1, "ADD"), said(1, "DELETE", 9, SEAFOOD)], Refusal.UNKNOWN_MEMORY),
    ],
)
def test_what_does_not_hold_is_asked_once_more_and_then_the_fact_is_added(items, refusal):
    decisions, told = fallback(*items, max_text_chars=100)
    assert decisions == (Decision(0, Action.ADD, text=LOVES.text, fallback=refusal),)
    assert f"Fact 1: {refusal.problem}." in told


def test_every_refusal_has_words_of_its_own_for_the_model():
    assert len({refusal.problem for refusal in Refusal}) == len(Refusal)


def test_only_what_was_refused_is_asked_again_under_the_same_numbers():
    chat = ChatDouble(
        answer(said(1, "DELETE", 1, SEAFOOD), said(2, "DELETE", 9, DOG)),
        answer(said(1, "ADD"), said(2, "UPDATE", 2, DOG, "The user has a cat.")),
    )
    found = decided(chat, (LOVES, CAT))
    assert [each["fact"] for each in chat.questions[1]["facts"]] == [2]
    assert chat.questions[1]["memories"] == chat.questions[0]["memories"]
    assert [(each.action, each.fallback) for each in found.decisions] == [("DELETE", ""), ("UPDATE", "")]
    assert (found.usage, found.refusals) == (Usage(2, 20, 4), ("UNKNOWN_MEMORY",))


def test_the_last_refusal_is_the_one_that_is_recorded():
    chat = ChatDouble(answer(said(1, "NOOP")), answer(said(1, "DELETE", 9)))
    found = decided(chat)
    assert (found.decisions[0].fallback, found.refusals) == ("UNKNOWN_MEMORY", ("UNKNOWN_EVENT", "UNKNOWN_MEMORY"))


def test_an_answer_of_no_use_is_asked_for_once_more():
    chat = ChatDouble(useless(), answer(said(1, "NONE", 1, SEAFOOD)))
    found = decided(chat)
    assert (found.decisions[0].action, found.usage, found.refusals) == (
        "NONE",
        Usage(2, 20, 4),
        (ErrorCode.INFERENCE_MALFORMED,),
    )
    assert "required form" in chat.instructions[1]


def test_a_second_answer_of_no_use_leaves_what_the_first_decided_and_adds_the_rest():
    chat = ChatDouble(answer(said(1, "DELETE", 1, SEAFOOD), said(2, "NOOP")), useless())
    found = decided(chat, (LOVES, CAT))
    assert [(each.action, each.fallback) for each in found.decisions] == [("DELETE", ""), ("ADD", "UNKNOWN_EVENT")]


def test_after_an_answer_of_no_use_what_is_refused_is_added_and_not_asked_a_third_time():
    chat = ChatDouble(useless(), answer(said(1, "NOOP")))
    found = decided(chat)
    assert (found.decisions[0].fallback, len(chat.asked)) == ("UNKNOWN_EVENT", 2)


def test_two_answers_of_no_use_are_an_error_that_says_what_was_spent_and_never_a_guess():
    with pytest.raises(InferenceError) as failure:
        decided(ChatDouble(useless(), useless(ErrorCode.INFERENCE_REFUSED)))
    assert failure.value.error_code == ErrorCode.INFERENCE_REFUSED
    assert failure.value.details.items() >= {"requests": 2, "prompt_tokens": 20, "completion_tokens": 4}.items()
    assert len(failure.value.details["refusals"]) == 2


@pytest.mark.parametrize("error", [NetworkError("away"), InferenceError("no such model")])
def test_what_another_answer_cannot_repair_is_raised_at_once(error):
    chat = ChatDouble(error)
    with pytest.raises(type(error)):
        decided(chat)
    assert len(chat.asked) == 1


def test_the_log_says_what_was_refused_and_nothing_of_the_texts(caplog):
    decided(ChatDouble(answer(said(1, "NOOP", reason="secret")), answer(said(1, "NOOP"))))
    shown = "".join(str(vars(record)) for record in caplog.records)
    assert "UNKNOWN_EVENT" in shown
    assert not any(word in shown for word in ("seafood", "secret", "Rex"))
