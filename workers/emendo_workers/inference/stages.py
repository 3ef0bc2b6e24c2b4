"""What is asked of the chat model: its facts and decisions, and what stands in for them where there is no model.

Whatever was spent is recorded with the job: on answers of no use, too, and on those before a request that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from emendo_client._time import iso
from emendo_client.errors import EmendoError
from emendo_config import usage
from emendo_workers.inference.decision import decide
from emendo_workers.inference.extraction import extract
from emendo_workers.inference.planning import Candidate, neighbours_of
from emendo_workers.inference.plans import Draft, store
from emendo_workers.inference.rules import rules_of
from emendo_workers.inference.tasks import Task, conversation, fact_documents, facts_as_said
from emendo_workers.inference.types import Decision, Fact, Neighbour, Usage, Verdict
from emendo_workers.prompts import decide as decide_prompt
from emendo_workers.prompts import extract as extract_prompt
from emendo_workers.services import Services

T = TypeVar("T")
# What the details of a failure say of the answers that were paid for.
_SPENT = ("requests", "prompt_tokens", "completion_tokens")


class Overtaken(Exception):  # noqa: N818  # not an error: the job is in other hands
    """Another attempt has taken the job over; this one must not touch it any more."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What facts do.

    Attributes:
        decisions: by the fact's index among those that were asked about.
        neighbours: what the decisions are about.
        prompt: the version of the prompt that the operations come from; empty without a chat model.
        spent: by the fields of `emendo_config.usage`.
        prompts: versions by stage.
    """

    decisions: dict[int, list[Decision]]
    neighbours: list[Neighbour] = field(default_factory=list)
    prompt: str = ""
    spent: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)


class Stages:
    """Asks a worker's chat model for one attempt's tasks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def has_model(self) -> bool:
        """False when messages have to do for facts."""
        return self._services.chat is not None

    def find_facts(self, task: Task) -> None:
        """Sees to it that the task's conversation has its facts; those the model finds are stored.

        Raises:
            EmendoError: the chat model failed.
            Overtaken: see there.
        """
        chat, work = self._services.chat, task.work
        (operation,), (document,) = work.operations, work.documents
        if operation.facts is not None:
            return
        if chat is None:
            found = fact_documents(facts_as_said(operation))
            task.work = work.rewritten(work.head, [{**document, "facts": found}])
            return
        extraction = self._recorded(
            task,
            lambda: extract(
                chat,
                conversation(operation),
                rules_of(self._services, work.project),
                settings=self._services.settings,
                now=datetime.fromisoformat(iso(operation.submitted)),
            ),
        )
        document = {**document, "facts": fact_documents(extraction.facts)}
        prompts = {"extract": extract_prompt.VERSION}
        self.store(task, Draft(work, work.head, [document], counts(extraction.usage), prompts))

    def decide(self, task: Task, candidates: Sequence[Candidate], asked: Sequence[int]) -> Decided:
        """What the facts of those indices do; ADD, without asking, where nothing is known near any of them.

        Raises:
            EmendoError: the chat model failed.
            Overtaken: see there.
        """
        chat = self._services.chat
        neighbours = neighbours_of([candidates[index] for index in asked])
        if chat is None or not neighbours:
            add = {
                index: [Decision(index, Verdict.ADD, fallback=candidates[index].unasked if chat is None else "")]
                for index in asked
            }
            return Decided(add, prompt=extract_prompt.VERSION if chat is not None else "")
        made = self._recorded(
            task,
            lambda: decide(
                chat,
                [Fact(candidates[index].text, 0) for index in asked],
                neighbours,
                rules_of(self._services, task.work.project),
                settings=self._services.settings,
            ),
        )
        decisions: dict[int, list[Decision]] = {index: [] for index in asked}
        for decision in made.decisions:
            decisions[asked[decision.fact]].append(decision)
        version = decide_prompt.VERSION
        return Decided(decisions, neighbours, version, counts(made.usage), {"decide": version})

    def store(self, task: Task, draft: Draft) -> None:
        """Stores what the task has become.

        Raises:
            Overtaken: see there.
        """
        (stored,) = store(self._services, [draft])
        if stored is None:
            raise Overtaken
        task.work = stored

    def record(self, task: Task, spent: Mapping[str, int]) -> None:
        """Records what was spent while the plan, or what there is of it, stays as it is.

        Raises:
            Overtaken: see there.
        """
        if spent:
            # A payload that is there already is not counted: the number makes it another one.
            head = {**task.work.head, "recorded": task.work.head.get("recorded", 0) + 1}
            self.store(task, Draft(task.work, head, task.work.documents, spent))

    def _recorded(self, task: Task, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except EmendoError as error:
            spent = {name: int(error.details.get(name, 0)) for name in _SPENT}
            self.record(task, counts(Usage(**spent)))
            raise


def counts(spent: Usage) -> dict[str, int]:
    """What was spent on chat, by the fields of `emendo_config.usage`."""
    named = {
        usage.CHAT_REQUESTS: spent.requests,
        usage.PROMPT_TOKENS: spent.prompt_tokens,
        usage.COMPLETION_TOKENS: spent.completion_tokens,
    }
    return {name: count for name, count in named.items() if count}
