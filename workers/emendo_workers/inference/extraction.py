"""From a conversation to the facts in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from emendo_client import validation
from emendo_client.chat import ChatModel
from emendo_client.errors import ValidationError
from emendo_config import Settings
from emendo_workers.inference.asking import ATTEMPTS, NO_FORM, Asker
from emendo_workers.inference.types import Extraction, Fact, Message, Rules
from emendo_workers.inference.windows import Window, windows
from emendo_workers.prompts import extract as prompt


def extract(
    chat: ChatModel, messages: Sequence[Message], rules: Rules, *, settings: Settings, now: datetime
) -> Extraction:
    """What is worth remembering of a conversation, which may be nothing; each text once.

    One request for every `EMENDO_INFERENCE_WINDOW_TOKENS` of it, about, and one more for a window whose answer cannot
    be used.

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

        The details of each say what was spent, if anything was: requests, prompt_tokens, completion_tokens.
    """
    asker = Asker(chat, prompt.VERSION)
    facts: dict[str, Fact] = {}
    for window in windows(messages, settings.inference_window_tokens):
        for fact in _of_window(asker, window, rules, settings, now):
            facts.setdefault(fact.text, fact)
    return Extraction(tuple(facts.values()), asker.usage, tuple(asker.refusals))


def _of_window(asker: Asker, window: Window, rules: Rules, settings: Settings, now: datetime) -> list[Fact]:
    problem = ""
    for _ in range(ATTEMPTS):
        asked = prompt.messages(window, rules, now, [problem] if problem else [])
        answer = asker.ask(asked, prompt.ExtractedFacts)
        if answer is None:
            problem = NO_FORM
            continue
        try:
            # Models go through a conversation in their own order.
            return sorted(_facts(answer, window, rules, settings), key=lambda fact: fact.source)
        except ValidationError as error:
            problem = error.message
            asker.refuse()
    raise asker.failure()


def _facts(answer: prompt.ExtractedFacts, window: Window, rules: Rules, settings: Settings) -> list[Fact]:
    facts = []
    for item in answer.facts:
        text = item.text.strip()
        if not text:
            continue  # some models say "nothing" with an empty fact
        # Without a message it is nothing that was said: it may come from the context, or be made up.
        if not 1 <= item.message <= len(window.parts):
            numbers = f"they are numbered 1 to {len(window.parts)}"
            raise ValidationError(f"a fact names a message that is not there; {numbers}")
        source = window.parts[item.message - 1].source
        facts.append(Fact(validation.text(text, "text", settings), source, _category(item.category, rules)))
    return facts


def _category(said: str | None, rules: Rules) -> str | None:
    known = {category.casefold(): category for category in rules.categories}
    return known.get(said.strip().casefold()) if said else None
