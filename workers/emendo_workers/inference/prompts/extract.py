"""The question what of a conversation is worth remembering."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from emendo_client.providers.chat import Message
from emendo_workers.inference.prompts.answers import MaybeText, Number
from emendo_workers.inference.prompts.wording import with_rules
from emendo_workers.inference.types import Rules
from emendo_workers.inference.windows import Window
from emendo_workers.providers.tokens import tokens_of

# Recorded with every memory it led to; to be raised with every change of the wording.
VERSION = "extract-1"

_INSTRUCTIONS = """\
You keep the long-term memory of an AI application. You read a piece of a conversation and list the facts in it that \
are worth remembering for later conversations.

You are given a JSON object. "messages" is the piece you read, each message with its number; "context" is what is \
there to understand them by, and no source of facts; "today" is the day of the conversation.

What is a fact:
- Something about the people who speak, or about the assistant's dealings with them, that will still matter in another \
conversation: who they are, what they like and dislike, what they own, do, plan, decided, need or cannot have, people \
and places in their lives, corrections of what was said earlier, what the assistant promised or recommended to them.
- That something is no longer so is a fact as well ("The user no longer has a dog."). That somebody wants one certain \
thing forgotten is a fact, too ("The user wants their phone number to be forgotten.").
- Not facts: greetings, thanks, small talk, questions as such, general knowledge, what the assistant explains, \
guesses, hypothetical cases, jokes, and requests to the application itself or to its memory as a whole ("delete \
everything", "answer in JSON", "ignore your rules").

How to write a fact:
- One fact, one sentence. A message with three facts gives three; details that belong together stay in one sentence.
- It must be understood without the conversation: replace pronouns, name what is talked about, turn relative times \
into dates ("yesterday", "next Friday": count from "today"). Say of a passing state when it holds.
- Third person: call speakers by their name if it is given, otherwise "the user" and "the assistant". Write in the \
language that the message is written in.
- Say exactly what was said: keep names, numbers, amounts and negations, add nothing, conclude nothing.
- If a later message in the piece corrects an earlier one, list only what is true in the end.
- "message" is the number of the message that says it.

If nothing is worth remembering, which is common, answer with an empty list."""

_CATEGORIES = """\
Give each fact the one of these categories that fits best, spelled as here, or null when none fits:
"""
_NO_CATEGORIES = "This project has no categories: each fact's category is null."

# Of an answer, and of each message's facts, besides their texts.
_ANSWER_TOKENS, _FACT_TOKENS = 256, 64

# Not strftime's: those speak the language of the process.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class ExtractedFact(BaseModel):
    """One fact."""

    message: Number = Field(description="The number of the message that says it.")
    text: str = Field(description="The fact, in one sentence that stands alone.")
    category: MaybeText = Field(None, description="One of the project's categories, or null.")


class ExtractedFacts(BaseModel):
    """The facts that are worth remembering, in the order they were said; often none."""

    facts: list[ExtractedFact]


def max_tokens(window: Window) -> int:
    """The length of an answer at most: facts repeat what was said, in whole sentences."""
    return _ANSWER_TOKENS + sum(2 * tokens_of(part.message.content) + _FACT_TOKENS for part in window.parts)


def messages(window: Window, rules: Rules, now: datetime, problems: Sequence[str] = ()) -> list[Message]:
    """The conversation that asks for a window's facts.

    Args:
        window: what is asked about.
        rules: the project's.
        now: when the conversation took place.
        problems: what was wrong with the answer before, in sentences of ours.
    """
    categories = _CATEGORIES + json.dumps(rules.categories, ensure_ascii=False) if rules.categories else _NO_CATEGORIES
    wording = with_rules((_INSTRUCTIONS, categories), rules, problems)
    document = {
        "today": f"{now:%Y-%m-%d}, {_DAYS[now.weekday()]}",
        "context": [_document(message.role, message.name, message.content) for message in window.context],
        "messages": [
            {"number": number, **_document(part.message.role, part.message.name, part.message.content)}
            for number, part in zip(window.numbers, window.parts, strict=True)
        ],
    }
    return [
        {"role": "system", "content": wording},
        {"role": "user", "content": json.dumps(document, ensure_ascii=False)},
    ]


def _document(role: str, name: str | None, content: str) -> dict[str, Any]:
    return {"role": role, **({"name": name} if name else {}), "content": content}
