"""The model's decisions: what each new fact does to the memories near it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from emendo_client.providers.chat import ChatModel
from emendo_config import Settings
from emendo_workers.inference.checks import Refusal, Refused, ShownMemory, checked_decisions
from emendo_workers.inference.prompts import decide as prompt
from emendo_workers.inference.structured_chat import ATTEMPTS, MAX_QUESTIONS, NO_FORM, StructuredChat
from emendo_workers.inference.types import Action, Decision, Decisions, Fact, Neighbour, Rules
from emendo_workers.providers.tokens import tokens_of

logger = logging.getLogger(__name__)

# Facts of one request; small models lose count of more.
FACTS_AT_ONCE = 20


def decide(
    chat: ChatModel, facts: Sequence[Fact], neighbours: Sequence[Neighbour], rules: Rules, *, settings: Settings
) -> Decisions:
    """Decides what each fact does to the memories; a fact without a usable answer becomes an ADD, so none is lost.

    It takes one request for every FACTS_AT_ONCE facts, and none without neighbours. Facts whose answer cannot be used
    are asked about once more.

    Args:
        chat: the model.
        facts: in the order of the conversation.
        neighbours: nearest first; those that do not fit `EMENDO_INFERENCE_WINDOW_TOKENS` are not shown to the model.
        rules: the project's.
        settings: the budget of a request, and the limits of a text.

    Raises:
        InferenceError: no answer could be used at all, or the provider refuses the question.
        NetworkError, RateLimitError: trying again later may help.
        AuthenticationError: the key is refused.

        The details of each have what was spent, if anything was: requests, prompt_tokens, completion_tokens.
    """
    questions = StructuredChat(chat, prompt.VERSION)
    shown = _fitting(neighbours, settings.inference_window_tokens)
    decisions: list[Decision] = []
    for first in range(0, len(facts), FACTS_AT_ONCE):
        some = {index: facts[index] for index in range(first, min(first + FACTS_AT_ONCE, len(facts)))}
        if shown:
            decisions += _decide_some(questions, some, shown, rules, settings)
        else:
            decisions += [_add(index, fact) for index, fact in some.items()]
    return Decisions(tuple(decisions), questions.usage, tuple(questions.refusals))


def _fitting(neighbours: Sequence[Neighbour], budget: int) -> dict[int, ShownMemory]:
    """The nearest memories whose texts together fit the budget, by the numbers they are shown under."""
    shown: dict[int, ShownMemory] = {}
    for index, neighbour in enumerate(neighbours):
        cost = tokens_of(neighbour.text)
        if cost <= budget:
            shown[len(shown) + 1] = ShownMemory(index, neighbour)
            budget -= cost
    if len(shown) < len(neighbours):
        left_out = len(neighbours) - len(shown)
        logger.warning("not all neighbours fit the chat model's window", extra={"left_out": left_out})
    return shown


def _decide_some(
    questions: StructuredChat,
    facts: Mapping[int, Fact],
    shown: Mapping[int, ShownMemory],
    rules: Rules,
    settings: Settings,
) -> list[Decision]:
    """The model's decisions about some facts (by index), in the facts' order."""
    indices = dict(enumerate(facts, start=1))
    memories = {number: memory.neighbour.text for number, memory in shown.items()}
    decided: dict[int, list[Decision]] = {}
    refused = dict.fromkeys(indices, Refusal.NO_ANSWER)
    problems: list[str] = []
    is_answered = False
    failures = 0
    for _ in range(MAX_QUESTIONS):
        asked = {number: facts[indices[number]].text for number in refused}
        answer = questions.ask(
            prompt.messages(asked, memories, rules, problems),
            prompt.FactDecisions,
            prompt.max_tokens(asked, memories),
        )
        failures += 1
        if answer is None or (answer.is_cut and not answer.document.decisions):
            problems = [NO_FORM]
        else:
            is_answered = True
            items = answer.document.decisions
            # More events of the fact where the answer was cut off may follow: it counts as not answered.
            incomplete = items[-1].fact if answer.is_cut else None
            for number in asked:
                answers = [item for item in items if item.fact == number != incomplete]
                try:
                    if answer.is_cut and not answers:
                        raise Refused(Refusal.CUT_OFF)  # noqa: TRY301  # as one more check
                    decided[number] = checked_decisions(
                        indices[number], facts[indices[number]], answers, shown, settings
                    )
                except Refused as error:
                    refused[number] = error.refusal
                    questions.refuse(error.refusal)
                else:
                    del refused[number]
                    failures = 0 if answer.is_cut else failures
            problems = [f"Fact {number}: {refusal.problem}." for number, refusal in refused.items()]
        if not refused or failures == ATTEMPTS:
            break
    if not is_answered:
        raise questions.failure()
    for number, refusal in refused.items():
        decided[number] = [_add(indices[number], facts[indices[number]], fallback=refusal.value)]
    return [decision for number in indices for decision in decided[number]]


def _add(index: int, fact: Fact, fallback: str = "") -> Decision:
    return Decision(index, Action.ADD, text=fact.text, fallback=fallback)
