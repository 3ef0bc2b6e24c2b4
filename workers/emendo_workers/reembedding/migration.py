"""The state of the re-embedding, as one step sees it and moves it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emendo_client.reembedding.models import MigrationPhase
from emendo_config.compact import read_json
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord, named_space, read_registry
from emendo_workers import scripts
from emendo_workers.operations import Operation, Work
from emendo_workers.services import Services


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done just now: the job is put aside for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the chunks a job was cut into."""

    open: int
    succeeded: int
    failed: int


class Migration:
    """One look at the state; `advance` moves it on if nobody else has since."""

    def __init__(self, services: Services, work: Work) -> None:
        self.services = services
        self.work = work
        self._fields: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """Looks again."""
        fields: Any = self.services.control.hgetall(self.services.keys.migration)
        self._fields = {as_text(name): as_text(value) for name, value in fields.items()}

    @property
    def operation(self) -> Operation:
        """What the job asks for."""
        return self.work.operations[0]

    @property
    def job_id(self) -> str:
        """The job that began it."""
        return self._fields.get("job", "")

    @property
    def phase(self) -> MigrationPhase:
        """Where it stands; FAILED when nothing is known of it any more."""
        return MigrationPhase(self._fields.get("phase", MigrationPhase.FAILED))

    @property
    def filters(self) -> dict[str, Any] | None:
        """Of a repair; None when it goes from one space to another."""
        found: dict[str, Any] | None = read_json(self._fields.get("filters", "null"))
        return found

    def has(self, name: str) -> bool:
        """True when the state has that field."""
        return name in self._fields

    def text(self, name: str) -> str:
        """A field; empty when it is not there."""
        return self._fields.get(name, "")

    def number(self, name: str) -> int:
        """A field as a number; 0 when it is not there."""
        return int(self._fields.get(name, 0))

    def seconds(self, name: str) -> float:
        """A field as a moment or a rate; 0 when it is not there."""
        return float(self._fields.get(name, 0))

    @property
    def target(self) -> SpaceRecord:
        """The space that is filled, as it is to be registered."""
        return SpaceRecord.from_json(self._fields["record"])

    def registered(self, name: str) -> SpaceRecord | None:
        """A space of the registry."""
        return named_space(read_registry(self.services.data, self.services.keys), name)

    def account(self) -> Account:
        """What became of this job's chunks so far."""
        services = self.services
        values: Any = services.control.hmget(services.keys.job(self.work.job_id), "open", "succeeded", "failed")
        return Account(*(int(value or 0) for value in values))

    def advance(
        self, fields: Mapping[str, Any], *, told: Mapping[str, str] | None = None, is_over: bool = False
    ) -> None:
        """Moves the state on, unless somebody else did; either way what is there now is read by the next step.

        Args:
            fields: to set; None removes one.
            told: an entry of the feed.
            is_over: another re-embedding may begin.
        """
        services = self.services
        kept = {name: value for name, value in fields.items() if value is not None}
        command = scripts.advance(
            services.keys,
            self.job_id,
            self.number("revision"),
            feed_length=services.settings.feed_length,
            ttl=services.settings.job_ttl,
            is_over=is_over,
            fields=[part for pair in kept.items() for part in pair],
            removed=[name for name in fields if name not in kept],
            told=[part for pair in (told or {}).items() for part in pair],
        )
        scripts.run(services.control, [command])
