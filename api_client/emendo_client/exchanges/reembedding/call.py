"""One call of `reembed`, with its arguments checked once for both clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.exchanges.exchange import Exchange
from emendo_client.exchanges.reembedding import control, estimate
from emendo_client.exchanges.reembedding.models import ReembedPlan
from emendo_client.exchanges.reembedding.selection import checked_filters
from emendo_client.exchanges.reembedding.target_space import checked_space, target_space
from emendo_client.requests import validation
from emendo_client.requests.jobs import JobRequest
from emendo_config import Keys, Settings
from emendo_config.spaces.registry import SpaceRecord


@dataclass(frozen=True, slots=True)
class ReembedCall:
    """One call of `reembed`.

    Attributes:
        wanted: the given properties of the new space.
        filters: selection of a repair inside the active space; None for a whole re-embedding.
        allow_missing: True if memories without a vector do not stop the switch.
    """

    wanted: Mapping[str, Any]
    filters: Mapping[str, Any] | None
    allow_missing: bool

    @classmethod
    def checked(cls, *, filters: Any, allow_missing: Any, **space: Any) -> ReembedCall:
        """The call from its arguments, checked without Redis and without the provider.

        Raises:
            ValidationError
        """
        call = cls(checked_space(**space), checked_filters(filters), validation.flag(allow_missing, "allow_missing"))
        if call.wanted and call.filters is not None:
            raise ValidationError(
                "filters repair a part of the active space; they cannot be combined with another space",
                suggestion="re-embed everything, or leave model, dimensions and the index settings out",
            )
        return call

    def target(self, active: SpaceRecord, records: Iterable[SpaceRecord], settings: Settings) -> SpaceRecord:
        """The space whose vectors will be written.

        Raises:
            ValidationError: such a space cannot exist, or it is the active one already.
        """
        return active if self.filters is not None else target_space(self.wanted, active, records, settings)

    def needs_provider(self, target: SpaceRecord) -> bool:
        """True when texts are embedded; a space that only changes its index copies the vectors."""
        return self.filters is not None or not target.copy_of

    def plan(self, settings: Settings, keys: Keys, active: SpaceRecord, target: SpaceRecord) -> Exchange[ReembedPlan]:
        """The estimate of its effort."""
        if self.filters is not None:
            return estimate.estimate_repair(settings, keys, active, self.filters)
        return estimate.estimate(settings, keys, active, target)

    def request(
        self, project: str, active: SpaceRecord, target: SpaceRecord, idempotency_key: str | None
    ) -> JobRequest:
        """The job that carries it out.

        Args:
            project: the caller's.
            active: the active space.
            target: the result of `target`. The forms of its texts go with the job: a worker's settings may still have
                those of the present space.
            idempotency_key: the caller's, if there is one.
        """
        wanted, space = dict(self.wanted), target.space
        if self.filters is None and not (space.has_plain_texts and active.space.has_plain_texts):
            wanted |= {"provider": space.provider, "model": space.model, "dimensions": space.dimensions}
            wanted |= {"passage": asdict(space.passage), "query": asdict(space.query)}
        return control.request(
            project,
            control.SWITCH,
            wanted=wanted,
            filters=self.filters,
            allow_missing=self.allow_missing,
            idempotency_key=idempotency_key,
        )
