"""The state of the re-embedding, as one step reads it and advances it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.json_codec import read_json
from emendo_config.spaces.registry import SpaceRecord, named_space, read_registry
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.operations import Migrate
from emendo_workers.jobs.work import Work
from emendo_workers.store import Store


@dataclass(frozen=True, slots=True)
class Wait:
    """The step must wait: the job is put aside for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """How many chunks of a job are open, succeeded and failed."""

    open: int
    succeeded: int
    failed: int


class Migration:
    """The state as it was read; `advance` changes it unless another worker has since.

    Attributes:
        store: the worker's.
        notifier: wakes the shards that chunks go to.
        work: the attempt that takes the step.
    """

    def __init__(self, store: Store, notifier: ShardNotifier, work: Work) -> None:
        self.store = store
        self.notifier = notifier
        self.work = work
        self._fields: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """Reads the state again."""
        fields: Any = self.store.control.hgetall(self.store.keys.migration)
        self._fields = {as_text(name): as_text(value) for name, value in fields.items()}

    @property
    def operation(self) -> Migrate:
        """The job's one operation."""
        operation = self.work.operations[0]
        assert isinstance(operation, Migrate)  # other operations are worked elsewhere
        return operation

    @property
    def job_id(self) -> str:
        """The job that began the re-embedding."""
        return self._fields.get("job", "")

    @property
    def phase(self) -> MigrationPhase:
        """The phase; FAILED when the state has expired."""
        return MigrationPhase(self._fields.get("phase", MigrationPhase.FAILED))

    @property
    def filters(self) -> dict[str, Any] | None:
        """The filters of a repair; None when it goes from one space to another."""
        found: dict[str, Any] | None = read_json(self._fields.get("filters", "null"))
        return found

    def has(self, name: str) -> bool:
        """True when the state has the field."""
        return name in self._fields

    def text(self, name: str) -> str:
        """A field; empty when it is missing."""
        return self._fields.get(name, "")

    def number(self, name: str) -> int:
        """A field as a number; 0 when it is missing."""
        return int(self._fields.get(name, 0))

    def seconds(self, name: str) -> float:
        """A field as a time or a rate; 0 when it is missing."""
        return float(self._fields.get(name, 0))

    @property
    def target(self) -> SpaceRecord:
        """The record of the space that is filled."""
        return SpaceRecord.from_json(self._fields["record"])

    def registered(self, name: str) -> SpaceRecord | None:
        """A registered space by its name."""
        return named_space(read_registry(self.store.data, self.store.keys), name)

    def chunk_counts(self) -> ChunkCounts:
        """The state of this job's chunks."""
        store = self.store
        values: Any = store.control.hmget(store.keys.job(self.work.job_id), "open", "succeeded", "failed")
        return ChunkCounts(*(int(value or 0) for value in values))

    def advance(
        self, fields: Mapping[str, Any], *, feed_entry: Mapping[str, str] | None = None, is_over: bool = False
    ) -> None:
        """Changes the state, unless another worker did since it was read; the next step reads what is there then.

        Args:
            fields: to set; None removes one.
            feed_entry: an entry to add to the feed.
            is_over: another re-embedding may begin.
        """
        store = self.store
        kept = {name: value for name, value in fields.items() if value is not None}
        command = scripts.advance(
            migration=store.keys.migration,
            feed=store.keys.feed,
            failures=store.keys.migration_failures,
            job_id=self.job_id,
            revision=self.number("revision"),
            feed_length=store.settings.feed_length,
            ttl=store.settings.job_ttl,
            is_over=is_over,
            fields=[part for pair in kept.items() for part in pair],
            removed=[name for name in fields if name not in kept],
            feed_entry=[part for pair in (feed_entry or {}).items() for part in pair],
        )
        scripts.run(store.control, [command])
