"""Conversations in windows: nothing said is lost, nothing is too long, and what led to it comes along."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from emendo_client.requests.content import STORED_ROLES
from emendo_workers.inference.types import Message
from emendo_workers.inference.windows import tokens_of, windows

BUDGET = 400
contents = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3_000)
conversations = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant", "system", "tool"]), contents, st.none()), max_size=12
)


def said(*contents: str) -> list[Message]:
    return [Message("user", content) for content in contents]


def size(messages) -> int:
    return sum(tokens_of(message.content) for message in messages)


@given(conversations)
def test_every_word_is_asked_about_once_in_order_and_within_the_budget(conversation):
    found = windows(conversation, BUDGET)
    heard: dict[int, str] = {}
    for window in found:
        assert window.parts
        assert size(window.context) + size(part.message for part in window.parts) <= BUDGET
        for part in window.parts:
            assert part.message.role == conversation[part.source].role
            heard[part.source] = heard.get(part.source, "") + part.message.content
    sources = [part.source for window in found for part in window.parts]
    assert sources == sorted(sources)
    assert heard == {i: m.content for i, m in enumerate(conversation) if m.role in STORED_ROLES}


def test_a_short_conversation_is_one_window():
    (window,) = windows([Message("system", "Be kind."), *said("one", "two")], BUDGET)
    assert [(part.source, part.message.content) for part in window.parts] == [(1, "one"), (2, "two")]
    assert window.context == (Message("system", "Be kind."),)


def test_the_name_of_the_speaker_comes_along():
    (window,) = windows([Message("user", "hello", "ana")], BUDGET)
    assert window.parts[0].message.name == "ana"


def test_a_window_knows_what_was_said_just_before_it():
    conversation = said(*(f"{number} {'x' * 500}" for number in range(4)), "the last word")
    found = windows(conversation, BUDGET)
    assert len(found) > 1
    assert found[0].context == ()
    for before, window in itertools.pairwise(found):
        last = before.parts[-1].message.content
        assert window.context
        assert last.endswith(window.context[-1].content)


def test_what_was_said_before_is_in_order():
    found = windows(said("one", "two", "x" * 800), BUDGET)
    assert [[part.source for part in window.parts] for window in found] == [[0, 1], [2]]
    assert found[1].context == tuple(said("one", "two"))


def test_system_messages_are_context_of_every_window_and_shortened():
    found = windows([Message("system", "s" * 10_000), *said(*("x" * 800 for _ in range(3)))], BUDGET)
    assert len(found) == 3
    for window in found:
        assert window.context[0].role == "system"
        assert 0 < tokens_of(window.context[0].content) <= BUDGET / 8
        assert all(part.message.role == "user" for part in window.parts)


def test_a_message_that_is_too_long_is_cut_between_words():
    text = "word " * 2_000
    parts = [part for window in windows(said(text), BUDGET) for part in window.parts]
    assert len(parts) > 1
    assert {part.source for part in parts} == {0}
    assert all(part.message.content.split() == ["word"] * (len(part.message.content) // 5) for part in parts)


def test_a_text_without_spaces_is_cut_all_the_same():
    parts = [part for window in windows(said("語" * 2_000), BUDGET) for part in window.parts]
    assert len(parts) > 1
    assert "".join(part.message.content for part in parts) == "語" * 2_000


def test_without_anything_said_there_is_no_window():
    assert windows([], BUDGET) == windows([Message("system", "Be kind.")], BUDGET) == []


def test_tokens_are_counted_by_bytes_and_rounded_up():
    assert [tokens_of(text) for text in ("", "a", "abc", "abcd", "語", "語語")] == [0, 1, 1, 2, 1, 2]
