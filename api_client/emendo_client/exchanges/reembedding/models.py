"""Results of the re-embedding calls: phase, plan and state."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class MigrationPhase(StrEnum):
    """The phase of a re-embedding.

    planned → filling → backfill → catching_up → verifying → switched → dropping → dropped. Before the switch it can be
    cancelled, after the switch rolled back. A repair ends after catching_up.
    """

    PLANNED = "planned"  # accepted; nothing is changed yet
    FILLING = "filling"  # the new index exists, and writes fill both spaces
    BACKFILL = "backfill"  # every memory is visited once
    CATCHING_UP = "catching_up"  # and again, for changes during the backfill
    VERIFYING = "verifying"  # no vector is missing; the two indexes are compared
    SWITCHED = "switched"  # searches use the new space; the old one is kept
    DROPPING = "dropping"  # the old space is being removed
    ROLLING_BACK = "rolling_back"  # searches use the old space again; the new one is being removed
    CANCELLING = "cancelling"  # the new space is being removed
    DROPPED = "dropped"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    REPAIRED = "repaired"
    FAILED = "failed"  # the plan could not be made; nothing was changed

    @property
    def is_final(self) -> bool:
        """True when the re-embedding is over."""
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
    """The estimated effort of a re-embedding, from a sample of the texts.

    Attributes:
        source, target: names of embedding spaces; the same for a repair.
        memories: memories that need a vector.
        tokens, requests: load on the provider; 0 when vectors are copied.
        seconds: duration at the configured rate limits and EMENDO_MAINTENANCE_SHARE; None without limits.
        cost: cost at `EMENDO_EMBEDDING_PRICE`; None without a price.
        memory_bytes: about how much more memory Redis needs until the old space is dropped.
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
        job_id: id of the job that `reembed` returned.
        active: False once it is over, so that another one may begin.
        source: name of the old embedding space; empty until it is planned.
        target: name of the new embedding space; empty until it is planned.
        total: memories that need a vector.
        done: memories that have it.
        failed: memories without it, because of an error at the last attempt.
        rate: current memories per second.
        eta: seconds until all memories have their vectors at that rate.
        failures: error codes of the first hundred failed memories, by memory id.
        recall: share of the ten nearest memories in the old space that the new space finds too; a sample's average.
        drops_at: time at which the old space is removed.
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
