"""What a caller asks for, checked once for both clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_client.reembedding import plan, steering
from emendo_client.reembedding.models import ReembedPlan
from emendo_client.reembedding.selection import checked_filters
from emendo_client.reembedding.targets import checked_space, target_space
from emendo_client.requests import JobRequest
from emendo_client.steps import Steps
from emendo_config import Keys, Settings
from emendo_config.registry import SpaceRecord


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of `reembed`.

    Attributes:
        wanted: what is given of the new space.
        filters: of a repair inside the active space; None for a whole re-embedding.
    """

    wanted: Mapping[str, Any]
    filters: Mapping[str, Any] | None
    allow_missing: bool

    @classmethod
    def checked(cls, *, filters: Any, allow_missing: Any, **space: Any) -> Asked:
        """What was given, checked as far as that needs neither Redis nor the provider.

        Raises:
            ValidationError
        """
        asked = cls(checked_space(**space), checked_filters(filters), validation.flag(allow_missing, "allow_missing"))
        if asked.wanted and asked.filters is not None:
            raise ValidationError(
                "filters mend a part of the space that is searched; they cannot go with another space",
                suggestion="re-embed everything, or leave model, dimensions and the index settings out",
            )
        return asked

    def target(self, active: SpaceRecord, records: Iterable[SpaceRecord], settings: Settings) -> SpaceRecord:
        """The space whose vectors will be written.

        Raises:
            ValidationError: there cannot be such a space, or the store is in it already.
        """
        return active if self.filters is not None else target_space(self.wanted, active, records, settings)

    def needs_provider(self, target: SpaceRecord) -> bool:
        """Whether anything is embedded: an index that only changes its form copies its vectors."""
        return self.filters is not None or not target.copy_of

    def plan(self, settings: Settings, keys: Keys, active: SpaceRecord, target: SpaceRecord) -> Steps[ReembedPlan]:
        """What it would take."""
        if self.filters is not None:
            return plan.estimate_repair(settings, keys, active, self.filters)
        return plan.estimate(settings, keys, active, target)

    def request(self, project: str, idempotency_key: str | None) -> JobRequest:
        """Its job."""
        return steering.request(
            project,
            steering.SWITCH,
            wanted=self.wanted,
            filters=self.filters,
            allow_missing=self.allow_missing,
            idempotency_key=idempotency_key,
        )
