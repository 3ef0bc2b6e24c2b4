"""The model's extraction: the facts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from emendo_client.errors import ValidationError
from emendo_client.providers.chat import ChatModel
from emendo_config import Settings
from emendo_workers.inference.prompts import extract as prompt
from emendo_workers.inference.structured_chat import ATTEMPTS, MAX_QUESTIONS, NO_FORM, StructuredChat
from emendo_workers.inference.types import Extraction, Fact, Message, Rules
from emendo_workers.inference.windows import Window, windows
from emendo_workers.providers.model_texts import model_text


def extract(
    chat: ChatModel, messages: Sequence[Message], rules: Rules, *, settings: Settings, now: datetime
) -> Extraction:
    """The facts of a conversation that are worth remembering, which may be none; each text once.

    It takes about one request for every `EMENDO_INFERENCE_WINDOW_TOKENS`. A window whose answer cannot be used is
    asked about once more, and the rest of one whose answer was cut off.

    Args:
        chat: the model.
        messages: the conversation, oldest first; facts come from user and assistant messages only.
        rules: the project's.
        settings: the budget of a request, and the limits of a text.
        now: when the conversation took place; relative dates are counted from it.

    Raises:
        InferenceError: no answer could be used, or the provider refuses the question.
        NetworkError, RateLimitError: trying again later may help.
        AuthenticationError: the key is refused.

        The details of each have what was spent, if anything was: requests, prompt_tokens, completion_tokens.
    """
    questions = StructuredChat(chat, prompt.VERSION)
    facts: dict[str, Fact] = {}
    for window in windows(messages, settings.inference_window_tokens):
        for fact in _of_window(questions, window, rules, settings, now):
            facts.setdefault(fact.text, fact)
    return Extraction(tuple(facts.values()), questions.usage, tuple(questions.refusals))


def _of_window(
    questions: StructuredChat, window: Window, rules: Rules, settings: Settings, now: datetime
) -> list[Fact]:
    """The window's facts. After an answer that was cut off, the messages it did not reach are asked about."""
    facts: list[Fact] = []
    problem = ""
    failures = 0
    for _ in range(MAX_QUESTIONS):
        asked = prompt.messages(window, rules, now, [problem] if problem else [])
        answer = questions.ask(asked, prompt.ExtractedFacts, prompt.max_tokens(window))
        problem, failures = NO_FORM, failures + 1
        if answer is not None:
            try:
                found = _facts(answer.document, window, rules, settings)
            except ValidationError as error:
                problem = error.message
                questions.refuse()
            else:
                reached = max(found, default=window.first) if answer.is_cut else window.numbers.stop
                if reached == window.first and found and failures == ATTEMPTS:
                    reached += 1  # the first message has more facts than fit, or the model repeats itself
                if reached > window.first:
                    # Of the message where the answer was cut off, more facts may follow: all of it is asked again.
                    facts += [fact for number, some in found.items() if number < reached for fact in some]
                    window = window.beginning_with(reached)
                    problem, failures = "", 0
                if not window.parts:
                    # Models go through a conversation in their own order.
                    return sorted(facts, key=lambda fact: fact.source)
        if failures == ATTEMPTS:
            break
    raise questions.failure()


def _facts(answer: prompt.ExtractedFacts, window: Window, rules: Rules, settings: Settings) -> dict[int, list[Fact]]:
    """The facts by the number of the message that says them."""
    facts: dict[int, list[Fact]] = {}
    for item in answer.facts:
        text = item.text.strip()
        if not text:
            continue  # some models give an empty fact for "nothing"
        # A fact without a message may come from the context, or be invented.
        if not 1 <= item.message < window.numbers.stop:
            numbers = f"they are numbered {window.first} to {window.numbers.stop - 1}"
            raise ValidationError(f"a fact names a message that is not there; {numbers}")
        if item.message >= window.first:  # the facts of the messages before are known
            source = window.parts[item.message - window.first].source
            fact = Fact(model_text(text, settings), source, _category(item.category, rules))
            facts.setdefault(item.message, []).append(fact)
    return facts


def _category(answer: str | None, rules: Rules) -> str | None:
    known = {category.casefold(): category for category in rules.categories}
    return known.get(answer.strip().casefold()) if answer else None
