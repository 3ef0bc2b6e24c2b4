"""One add on its way through inference: its payload, the facts found in it, the outcomes so far."""

from __future__ import annotations

from typing import Any

from emendo_workers.inference.candidates import Candidate
from emendo_workers.inference.payloads import NewPayload
from emendo_workers.inference.scope import scope_of
from emendo_workers.jobs.operations import Infer, Operation, Plannable, Scoped
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.work import Work


class InferredAdd:
    """One attempt at one job, or at one chunk of a batch job.

    Attributes:
        work: with the payload that the record has now.
        facts: to be planned, or to be decided again.
        spent: on embedding and not recorded yet, by the fields of `emendo_config.store.usage_counters`.
        new_payload: to be stored next; None when the record's payload stays.
        outcomes: those known so far, by the operation's place.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.facts: list[Candidate] = []
        self.spent: dict[str, int] = {}
        self.new_payload: NewPayload | None = None
        self.outcomes: dict[int, ItemOutcome] = {}

    @property
    def conversation(self) -> Infer:
        """The only operation of an add without a plan."""
        (operation,) = self.work.operations
        assert isinstance(operation, Infer)
        return operation

    @property
    def waiting(self) -> dict[int, Operation]:
        """The operations without an outcome, by their place."""
        known = {*self.work.settled, *self.outcomes}
        return {place: operation for place, operation in enumerate(self.work.operations) if place not in known}

    @property
    def scoped(self) -> Scoped | None:
        """An operation that names the scope: any whose memory is not erased. None when there is no operation."""
        operations = [each for each in self.work.operations if isinstance(each, Infer | Plannable)]
        named = (each for each in operations if each.user_id or each.agent_id or each.run_id)
        return next(named, next(iter(operations), None))

    @property
    def scope(self) -> str:
        """The name of its scope; empty when there is no operation."""
        return scope_of(self.scoped) if self.scoped is not None else ""

    @property
    def items(self) -> list[ItemOutcome]:
        """The outcomes of the operations this attempt was about, in their order."""
        return [self.outcomes[place] for place in range(len(self.work.operations)) if place not in self.work.settled]

    def take_spent(self) -> dict[str, int]:
        """Returns what was spent since the last call, to be recorded now."""
        spent, self.spent = self.spent, {}
        return spent

    def end(self, **outcome: Any) -> None:
        """Gives all waiting operations the same outcome; the arguments are those of `ItemOutcome`."""
        self.outcomes |= {place: ItemOutcome(operation, **outcome) for place, operation in self.waiting.items()}
