"""What the re-embedding calls return."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class MigrationPhase(StrEnum):
    """Where a re-embedding stands.

    planned → filling → backfill → catching_up → verifying → switched → dropping → dropped; before the switch it can
    be cancelled, after it rolled back. A repair ends after catching_up.
    """

    PLANNED = "planned"  # accepted; nothing is changed yet
    FILLING = "filling"  # the new index is there, and writes keep both spaces
    BACKFILL = "backfill"  # every memory is looked at once
    CATCHING_UP = "catching_up"  # again, for what changed meanwhile
    VERIFYING = "verifying"  # nothing is missing; the two indexes are compared
    SWITCHED = "switched"  # searches answer from the new space; the old one is kept
    DROPPING = "dropping"  # the old space is being removed
    ROLLING_BACK = "rolling_back"  # searches answer from the old space again; the new one is being removed
    CANCELLING = "cancelling"  # the new space is being removed
    DROPPED = "dropped"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    REPAIRED = "repaired"
    FAILED = "failed"  # the plan could not be made; nothing was changed

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen."""
        return self in _FINAL


_FINAL = frozenset(
    {
        MigrationPhase.DROPPED,
        MigrationPhase.ROLLED_BACK,
        MigrationPhase.CANCELLED,
        MigrationPhase.REPAIRED,
        MigrationPhase.FAILED,
    }
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReembedPlan(_Model):
    """What a re-embedding would take; estimated from a sample of the texts.

    Attributes:
        source, target: names of embedding spaces; of a repair they are the same.
        memories: that need a vector.
        tokens, requests: what the provider is asked for; 0 when vectors are copied.
        seconds: at the configured limits and the share of them that it may use; None without limits.
        cost: at `EMENDO_EMBEDDING_PRICE`; None without one.
        memory_bytes: Redis needs so much more until the old space is dropped, about.
    """

    source: str
    target: str
    memories: int
    tokens: int
    requests: int
    seconds: float | None = None
    cost: float | None = None
    memory_bytes: int


class Migration(_Model):
    """The store's latest re-embedding.

    Attributes:
        job_id: the job that `reembed` gave.
        active: False once it is over: another one may begin.
        source, target: names of embedding spaces; empty until it is planned.
        total, done: memories; failed: those that have no vector yet because of an error, at the last attempt.
        rate: memories a second, just now.
        eta: seconds until all have their vectors, at that rate.
        failures: the error codes of failed memories by id, the first hundred.
        recall: share of the old space's ten nearest that the new one finds, too, on average over a sample.
        drops_at: when the old space will be removed.
    """

    job_id: str
    phase: MigrationPhase
    active: bool
    paused: bool = False
    source: str = ""
    target: str = ""
    total: int = 0
    done: int = 0
    failed: int = 0
    rate: float | None = None
    eta: float | None = None
    failures: dict[str, str] = Field(default_factory=dict)
    recall: float | None = None
    plan: ReembedPlan | None = None
    switched_at: datetime | None = None
    drops_at: datetime | None = None
