"""From new facts and the memories near them to what each fact does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from emendo_client.chat import ChatModel
from emendo_config import Settings
from emendo_workers.inference.asking import ATTEMPTS, NO_FORM, Asker
from emendo_workers.inference.checks import Refusal, Refused, Shown, checked
from emendo_workers.inference.types import Decision, Decisions, Fact, Neighbour, Rules, Verdict
from emendo_workers.inference.windows import tokens_of
from emendo_workers.prompts import decide as prompt

logger = logging.getLogger(__name__)

# More facts than these are asked about in several requests; small models lose count of more.
FACTS_AT_ONCE = 20


def decide(
    chat: ChatModel, facts: Sequence[Fact], neighbours: Sequence[Neighbour], rules: Rules, *, settings: Settings
) -> Decisions:
    """What each fact does to the memories; a fact for which no answer can be used becomes an ADD, never nothing.

    One request for every FACTS_AT_ONCE facts, none without neighbours, and one more for the facts whose answer cannot
    be used.

    Args:
        chat: the model.
        facts: in the order they were said.
        neighbours: the nearest first: what does not fit `EMENDO_INFERENCE_WINDOW_TOKENS` is not shown to the model.
        rules: the project's.
        settings: the budget of a request, and the limits of a text.

    Raises:
        InferenceError: no answer could be used at all, or the provider refuses the question.
        NetworkError, RateLimitError: trying again later may help.
        AuthenticationError: the key is refused.

        The details of each say what was spent, if anything was: requests, prompt_tokens, completion_tokens.
    """
    asker = Asker(chat, prompt.VERSION)
    shown = _that_fit(neighbours, settings.inference_window_tokens)
    decisions: list[Decision] = []
    for first in range(0, len(facts), FACTS_AT_ONCE):
        some = {index: facts[index] for index in range(first, min(first + FACTS_AT_ONCE, len(facts)))}
        if shown:
            decisions += _asked(asker, some, shown, rules, settings)
        else:
            decisions += [_add(index, fact) for index, fact in some.items()]
    return Decisions(tuple(decisions), asker.usage, tuple(asker.refusals))


def _that_fit(neighbours: Sequence[Neighbour], budget: int) -> dict[int, Shown]:
    """By the numbers they are shown under, the nearest whose texts together fit the budget."""
    shown: dict[int, Shown] = {}
    for index, neighbour in enumerate(neighbours):
        cost = tokens_of(neighbour.text)
        if cost <= budget:
            shown[len(shown) + 1] = Shown(index, neighbour)
            budget -= cost
    if len(shown) < len(neighbours):
        left_out = len(neighbours) - len(shown)
        logger.warning("not all neighbours fit the chat model's window", extra={"left_out": left_out})
    return shown


def _asked(
    asker: Asker, facts: Mapping[int, Fact], shown: Mapping[int, Shown], rules: Rules, settings: Settings
) -> list[Decision]:
    """The model's decisions about facts, by their index; in the facts' order."""
    indices = dict(enumerate(facts, start=1))
    memories = {number: memory.neighbour.text for number, memory in shown.items()}
    decided: dict[int, list[Decision]] = {}
    refused = dict.fromkeys(indices, Refusal.NO_ANSWER)
    problems: list[str] = []
    answered = False
    for _ in range(ATTEMPTS):
        asked = {number: facts[indices[number]].text for number in refused}
        answer = asker.ask(prompt.messages(asked, memories, rules, problems), prompt.FactDecisions)
        if answer is None:
            problems = [NO_FORM]
            continue
        answered = True
        for number in asked:
            said = [item for item in answer.decisions if item.fact == number]
            try:
                decided[number] = checked(indices[number], facts[indices[number]], said, shown, settings)
            except Refused as error:
                refused[number] = error.refusal
                asker.refuse(error.refusal)
            else:
                del refused[number]
        if not refused:
            break
        problems = [f"Fact {number}: {refusal.problem}." for number, refusal in refused.items()]
    if not answered:
        raise asker.failure()
    for number, refusal in refused.items():
        decided[number] = [_add(indices[number], facts[indices[number]], fallback=refusal)]
    return [decision for number in indices for decision in decided[number]]


def _add(index: int, fact: Fact, fallback: str = "") -> Decision:
    return Decision(index, Verdict.ADD, text=fact.text, fallback=fallback)
