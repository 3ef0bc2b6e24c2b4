"""The question what new facts do to the memories there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from emendo_client.providers.chat import Message
from emendo_workers.inference.prompts.answers import NO_NUMBER, MaybeNumber, MaybeText, Number, Text
from emendo_workers.inference.prompts.wording import with_rules
from emendo_workers.inference.types import Action, Rules
from emendo_workers.providers.tokens import tokens_of

# Recorded with every change it led to; to be raised with every change of the wording.
VERSION = "decide-1"

_INSTRUCTIONS = """\
You keep the long-term memory of an AI application. New facts were found in a conversation. You decide what each of \
them does to the memories there are.

You are given a JSON object: "facts" and "memories", each with a number of its own. The facts are newer than the \
memories, and right where the two disagree.

For every fact, look for the memory about the same thing, and give one event:
- NONE: a memory already says all of it, in whatever words or language.
- UPDATE: a memory is about the same thing, and the fact corrects it, contradicts it, or makes it more exact. "text" \
is what that memory shall say from now on: what the fact says, and everything in the old text that still holds.
- DELETE: the fact only takes something away: what a memory says has ended, was never so, or is to be forgotten, and \
nothing takes its place. If other things in the memory still hold, that is an UPDATE that leaves them standing.
- ADD: anything else. Likeness is not enough: another person, thing, time or place is another fact, and so is another \
property of the same person. A passing state does not replace a lasting one: a journey is no change of home. When in \
doubt, ADD; nothing is lost by it.

Examples, where memory 1 says "The user dislikes seafood.":
- "The user dislikes fish and other seafood." is NONE
- "The user loves seafood, especially sushi." is UPDATE, "The user loves seafood, especially sushi."
- "The user wants it forgotten what they think of seafood." is DELETE
- "The user's sister loves seafood." is ADD

Give each fact exactly one of NONE, UPDATE and ADD, or only DELETE. If one fact makes further memories wrong, add a \
DELETE for each of them under the same fact. Two facts never UPDATE the same memory: the second one is an ADD.

How to answer, for each event:
- "fact": the fact's number. "memory": the memory's number; null for ADD.
- "old_text": the text of that memory, copied word for word; null for ADD.
- "reason": why, in at most fifteen words.
- "event": ADD, UPDATE, DELETE or NONE.
- "text": for UPDATE the memory's new text, in the language of the old one; otherwise null."""


# Of an answer, and of each fact's decision, besides their texts.
_ANSWER_TOKENS, _DECISION_TOKENS = 128, 96


class FactDecision(BaseModel):
    """What one fact does to one memory."""

    fact: Number = Field(NO_NUMBER, description="The fact's number.")
    memory: MaybeNumber = Field(None, description="The memory's number; null for ADD.")
    old_text: MaybeText = Field(None, description="That memory's text, word for word; null for ADD.")
    reason: Text = Field("", description="Why, in at most fifteen words.")
    # Any string can be read: one unknown event must not spoil the answer.
    event: Text = Field("", description="The event.", json_schema_extra={"enum": [action.value for action in Action]})
    text: MaybeText = Field(None, description="For UPDATE what the memory shall say; otherwise null.")


class FactDecisions(BaseModel):
    """What the facts do to the memories: at least one event for every fact."""

    decisions: list[FactDecision]


def max_tokens(facts: Mapping[int, str], memories: Mapping[int, str]) -> int:
    """The length of an answer at most: it copies memories, rewrites some, and gives a reason for each fact."""
    copied = 3 * sum(map(tokens_of, memories.values()))
    return _ANSWER_TOKENS + copied + sum(tokens_of(text) + _DECISION_TOKENS for text in facts.values())


def messages(
    facts: Mapping[int, str], memories: Mapping[int, str], rules: Rules, problems: Sequence[str] = ()
) -> list[Message]:
    """The conversation that asks what facts do to memories.

    Args:
        facts: texts by the numbers they are shown under.
        memories: likewise.
        rules: the project's.
        problems: what was wrong with the answer before, in sentences of ours.
    """
    document = {
        "facts": [{"fact": number, "text": text} for number, text in facts.items()],
        "memories": [{"memory": number, "text": text} for number, text in memories.items()],
    }
    return [
        {"role": "system", "content": with_rules([_INSTRUCTIONS], rules, problems)},
        {"role": "user", "content": json.dumps(document, ensure_ascii=False)},
    ]
