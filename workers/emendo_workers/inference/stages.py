"""The stages that ask the chat model: facts and decisions, and their replacements where there is no model.

All cost is recorded with the job: also that of unusable answers, and of answers before a request that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from emendo_client.errors import EmendoError
from emendo_client.providers.chat import Usage
from emendo_client.times import iso
from emendo_config.store import usage_counters
from emendo_workers.inference.candidates import (
    Candidate,
    conversation_of,
    fact_documents,
    messages_as_facts,
    neighbours_of,
)
from emendo_workers.inference.decision import decide
from emendo_workers.inference.extraction import extract
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.payloads import NewPayload, store_payloads
from emendo_workers.inference.prompts import decide as decide_prompt
from emendo_workers.inference.prompts import extract as extract_prompt
from emendo_workers.inference.rules import rules_of
from emendo_workers.inference.types import Action, Decision, Fact, Neighbour
from emendo_workers.services import Services

T = TypeVar("T")
# The cost of earlier answers, in the details of a failure.
_SPENT = ("requests", "prompt_tokens", "completion_tokens")


class StaleAttempt(Exception):  # noqa: N818  # not an error: the job is in other hands
    """Another attempt has taken the job over; this one must not touch it any more."""


@dataclass(frozen=True, slots=True)
class DecidedFacts:
    """The decisions about facts.

    Attributes:
        decisions: by the fact's index among those that were asked about.
        neighbours: the memories the decisions are about.
        prompt: the version of the prompt that the operations come from; empty without a chat model.
        spent: by the fields of `emendo_config.store.usage_counters`.
        prompts: versions by stage.
    """

    decisions: dict[int, list[Decision]]
    neighbours: list[Neighbour] = field(default_factory=list)
    prompt: str = ""
    spent: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)


class Stages:
    """Asks a worker's chat model on behalf of one attempt's adds."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def has_model(self) -> bool:
        """False when messages replace facts."""
        return self._services.chat is not None

    def run_step(self, add: InferredAdd, step: Callable[[InferredAdd], Any]) -> bool:
        """Takes a step that may ask the chat model, unless the job is cancelled by now; False when the add ended."""
        try:
            if self.has_model and self._is_cancelled(add):
                add.end(cancelled=True)
            else:
                self._run_or_fail(add, step)
        except StaleAttempt:
            add.end(busy=True)
        return bool(add.waiting)

    def find_facts(self, add: InferredAdd) -> None:
        """Finds the facts of the conversation, unless it has them; those the model finds are stored.

        Raises:
            EmendoError: the chat model failed.
            StaleAttempt: see there.
        """
        chat, work = self._services.chat, add.work
        conversation, (document,) = add.conversation, work.documents
        if conversation.facts is not None:
            return
        if chat is None:
            found = fact_documents(messages_as_facts(conversation))
            add.work = work.rewritten(work.head, [{**document, "facts": found}])
            return
        extraction = self._recorded(
            add,
            lambda: extract(
                chat,
                conversation_of(conversation),
                rules_of(self._services.store, work.project),
                settings=self._services.settings,
                now=datetime.fromisoformat(iso(conversation.submitted)),
            ),
        )
        document = {**document, "facts": fact_documents(extraction.facts)}
        prompts = {"extract": extract_prompt.VERSION}
        self.store(add, NewPayload(work, work.head, [document], usage_counts(extraction.usage), prompts))

    def decide(self, add: InferredAdd, candidates: Sequence[Candidate], asked: Sequence[int]) -> DecidedFacts:
        """Decides the facts of these indices; ADD, without asking, where no memory is near any of them.

        Raises:
            EmendoError: the chat model failed.
            StaleAttempt: see there.
        """
        chat = self._services.chat
        neighbours = neighbours_of([candidates[index] for index in asked])
        if chat is None or not neighbours:
            adds = {
                index: [Decision(index, Action.ADD, fallback=candidates[index].fallback if chat is None else "")]
                for index in asked
            }
            return DecidedFacts(adds, prompt=extract_prompt.VERSION if chat is not None else "")
        made = self._recorded(
            add,
            lambda: decide(
                chat,
                [Fact(candidates[index].text, 0) for index in asked],
                neighbours,
                rules_of(self._services.store, add.work.project),
                settings=self._services.settings,
            ),
        )
        decisions: dict[int, list[Decision]] = {index: [] for index in asked}
        for decision in made.decisions:
            decisions[asked[decision.fact]].append(decision)
        version = decide_prompt.VERSION
        return DecidedFacts(decisions, neighbours, version, usage_counts(made.usage), {"decide": version})

    def store(self, add: InferredAdd, payload: NewPayload) -> None:
        """Stores the add's new payload.

        Raises:
            StaleAttempt: see there.
        """
        (stored,) = store_payloads(self._services.store, [payload])
        if stored is None:
            raise StaleAttempt
        add.work = stored

    def record_spent(self, add: InferredAdd) -> None:
        """Records what was spent on embedding; the add ends when another attempt has taken it over."""
        try:
            self._record(add, add.take_spent())
        except StaleAttempt:
            add.end(busy=True)

    def _run_or_fail(self, add: InferredAdd, step: Callable[[InferredAdd], Any]) -> None:
        try:
            step(add)
        except EmendoError as error:
            self._record(add, add.take_spent())
            add.end(error=error)

    def _is_cancelled(self, add: InferredAdd) -> bool:
        store = self._services.store
        return bool(store.control.sismember(store.keys.cancelling, add.work.job_id))

    def _record(self, add: InferredAdd, spent: Mapping[str, int]) -> None:
        """Records what was spent; the operations stay.

        Raises:
            StaleAttempt: see there.
        """
        if spent:
            # `store_plan.lua` counts nothing for a payload the record has already: the number makes it another one.
            head = {**add.work.head, "recorded": add.work.head.get("recorded", 0) + 1}
            self.store(add, NewPayload(add.work, head, add.work.documents, spent))

    def _recorded(self, add: InferredAdd, ask: Callable[[], T]) -> T:
        """Asks; when that fails, records the cost of the answers before."""
        try:
            return ask()
        except EmendoError as error:
            spent = {name: int(error.details.get(name, 0)) for name in _SPENT}
            self._record(add, usage_counts(Usage(**spent)))
            raise


def usage_counts(usage: Usage) -> dict[str, int]:
    """The use of the chat model, by the fields of `emendo_config.store.usage_counters`."""
    named = {
        usage_counters.CHAT_REQUESTS: usage.requests,
        usage_counters.PROMPT_TOKENS: usage.prompt_tokens,
        usage_counters.COMPLETION_TOKENS: usage.completion_tokens,
    }
    return {name: count for name, count in named.items() if count}
