"""Answers that were cut off: what is complete is kept, the rest is asked for, and nothing is applied by half."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from emendo_client.errors import InferenceError
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_workers.inference.checks import Refusal
from emendo_workers.inference.decision import decide
from emendo_workers.inference.extraction import extract
from emendo_workers.inference.structured_chat import MAX_QUESTIONS
from emendo_workers.inference.types import Action, Fact, Message, Neighbour, Rules
from tests.support.chat_double import ChatDouble, Cut, useless

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
CONVERSATION = [Message("user", f"I have boat {number}.") for number in range(1, 4)]


def fact(message, text):
    return {"message": message, "text": text, "category": None}


def facts(*items):
    return {"facts": list(items)}


def extracted(chat, conversation=CONVERSATION):
    return extract(chat, conversation, Rules(), settings=Settings(), now=NOW)


def texts(found):
    return [each.text for each in found.facts]


def test_after_a_cut_the_messages_are_asked_about_that_the_answer_did_not_reach():
    chat = ChatDouble(
        Cut(facts(fact(1, "one"), fact(2, "two, at first"))),
        facts(fact(2, "two"), fact(2, "two more"), fact(3, "three")),
    )
    found = extracted(chat)
    assert found.facts == (Fact("one", 0), Fact("two", 1), Fact("two more", 1), Fact("three", 2))
    assert found.refusals == (ErrorCode.INFERENCE_TRUNCATED,)
    first, second = chat.questions
    assert [each["number"] for each in second["messages"]] == [2, 3], "the numbers stay"
    assert second["context"] == [{"role": "user", "content": "I have boat 1."}]
    assert "could not be used" not in chat.instructions[1]
    assert [each["content"] for each in first["messages"]] == [each.content for each in CONVERSATION]


def test_facts_of_messages_that_were_read_before_are_not_taken_twice():
    chat = ChatDouble(Cut(facts(fact(1, "one"), fact(2, "two"))), facts(fact(1, "one in other words"), fact(2, "two")))
    assert texts(extracted(chat)) == ["one", "two"]


@pytest.mark.parametrize("said", ["different facts", "the same fact"])
def test_of_a_message_with_more_facts_than_fit_the_complete_ones_are_kept(said):
    many = [fact(1, f"fact {number if said == 'different facts' else 0}") for number in range(50)]
    chat = ChatDouble(*[Cut(facts(*many))] * 2)
    assert texts(extracted(chat, CONVERSATION[:1])) == list(dict.fromkeys(each["text"] for each in many))


def test_a_model_that_always_says_the_same_and_is_cut_off_is_read_as_far_as_it_goes():
    chat = ChatDouble(*[Cut(facts(fact(1, "one"), fact(2, "two")))] * MAX_QUESTIONS)
    assert texts(extracted(chat, CONVERSATION[:2])) == ["one", "two"]
    assert len(chat.asked) == 3


@pytest.mark.parametrize("then", [Cut(facts()), useless(), facts(fact(9, "invented"))], ids=["cut", "useless", "wrong"])
def test_a_conversation_of_which_the_rest_cannot_be_read_is_a_failure_and_loses_nothing(then):
    chat = ChatDouble(Cut(facts(fact(1, "one"), fact(2, "two"))), *[then] * 2)
    with pytest.raises(InferenceError) as failure:
        extracted(chat)
    assert failure.value.details["requests"] == 3


def test_the_questions_about_one_window_are_bounded():
    conversation = [Message("user", f"Boat {number}") for number in range(1, 30)]
    chat = ChatDouble(*[Cut(facts(fact(number, "a"), fact(number + 1, "b"))) for number in range(1, 30)])
    with pytest.raises(InferenceError) as failure:
        extracted(chat, conversation)
    assert (failure.value.error_code, len(chat.asked)) == (ErrorCode.INFERENCE_TRUNCATED, MAX_QUESTIONS)


# Decisions.

MEMORIES = [Neighbour("id-1", "The user has a dog.", 1), Neighbour("id-2", "The user has a cat.", 1)]
FACTS = [Fact("The user has no pets.", 0), Fact("The user sings.", 0), Fact("The user owns a boat.", 0)]


def said(fact, event, memory=None, text=None):
    old = MEMORIES[memory - 1].text if memory else None
    return {"fact": fact, "memory": memory, "old_text": old, "reason": "", "event": event, "text": text}


def decisions(*items):
    return {"decisions": list(items)}


def decided(chat, some=FACTS):
    return decide(chat, some, MEMORIES, Rules(), settings=Settings())


def test_the_fact_at_which_an_answer_was_cut_off_is_asked_about_again_with_those_after_it():
    chat = ChatDouble(
        Cut(decisions(said(2, "ADD"), said(1, "DELETE", 1))),
        decisions(said(1, "DELETE", 1), said(1, "DELETE", 2), said(3, "ADD")),
    )
    found = decided(chat)
    assert [(each.fact, each.action, each.neighbour) for each in found.decisions] == [
        (0, Action.DELETE, 0),
        (0, Action.DELETE, 1),
        (1, Action.ADD, None),
        (2, Action.ADD, None),
    ]
    assert [each["fact"] for each in chat.questions[1]["facts"]] == [1, 3]
    assert "Fact 1: the answer was cut off" in chat.instructions[1]


def test_as_long_as_each_answer_decides_something_the_rest_is_asked_about():
    chat = ChatDouble(
        Cut(decisions(said(1, "ADD"), said(2, "ADD"))),
        Cut(decisions(said(2, "ADD"), said(3, "ADD"))),
        decisions(said(3, "ADD")),
    )
    assert [each.fallback for each in decided(chat).decisions] == ["", "", ""]


def test_a_fact_that_no_answer_reaches_is_added_and_says_why():
    chat = ChatDouble(*[Cut(decisions(said(1, "DELETE", 1)))] * 2)
    found = decided(chat)
    assert [(each.action, each.fallback) for each in found.decisions] == [(Action.ADD, Refusal.CUT_OFF)] * 3


def test_answers_that_are_cut_off_before_anything_is_decided_are_a_failure():
    chat = ChatDouble(*[Cut(decisions())] * 2)
    with pytest.raises(InferenceError) as failure:
        decided(chat)
    assert failure.value.error_code == ErrorCode.INFERENCE_TRUNCATED


# Bounds.


def test_the_bound_of_an_answer_follows_from_what_is_asked():
    chat = ChatDouble(facts(), facts(), decisions(said(1, "ADD")), decisions(*(said(n, "ADD") for n in (1, 2, 3))))
    extracted(chat, CONVERSATION[:1])
    extracted(chat)
    decided(chat, FACTS[:1])
    decided(chat)
    one, three, one_fact, three_facts = chat.bounds
    assert 256 < one < three < 1_000
    assert 128 < one_fact < three_facts < 1_000


def test_what_is_asked_again_has_a_bound_of_its_own():
    chat = ChatDouble(Cut(facts(fact(1, "one"), fact(3, "three"))), facts(fact(3, "three")))
    extracted(chat)
    assert chat.bounds[1] < chat.bounds[0]
