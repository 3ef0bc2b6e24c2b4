"""The diagnosis of many memories: all memories of a key prefix, or a sample, of every project."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from emendo_client.exchanges.diagnosis import checks
from emendo_client.exchanges.diagnosis.models import Check, Diagnosis, Finding
from emendo_client.exchanges.diagnosis.read import indexed_count, readings
from emendo_client.exchanges.exchange import Exchange
from emendo_client.exchanges.scan import memory_ids
from emendo_config import Keys, Settings

# Memories read in one round trip, keys visited by one SCAN call, and damaged memories named in the result.
BATCH = 250
SCAN_COUNT = 1_000
MAX_DAMAGED = 20

# Called with the number of checked memories and the expected total.
Report = Callable[[int, int], None]


class Damaged(BaseModel):
    """A damaged memory with its failed checks."""

    model_config = ConfigDict(frozen=True)

    memory_id: str
    project: str | None
    findings: list[Finding]


class Audit(BaseModel):
    """The result of an audit; `damaged` names the first MAX_DAMAGED of the `wrong` memories."""

    model_config = ConfigDict(frozen=True)

    looked_at: int
    wrong: int
    by_check: dict[Check, int]
    damaged: list[Damaged]


def audit(keys: Keys, settings: Settings, sample: int | None, report: Report, chance: random.Random) -> Exchange[Audit]:
    """Diagnoses the memories of this key prefix batch by batch, in constant space.

    A change during the audit is no damage. A memory and its history are read at one moment, and a memory that seems
    damaged is read a second time before it is reported.

    Args:
        sample: number of memories to check, each with the same chance; None for all.
        report: called after each batch.
        chance: draws the sample.
    """
    tally = _Tally(report)
    if sample is not None:
        chosen = yield from _draw(keys, sample, chance)
        tally.total = len(chosen)
        for start in range(0, len(chosen), BATCH):
            yield from _look(keys, settings, chosen[start : start + BATCH], tally)
        return tally.audit()
    cursor, waiting = 0, list[str]()
    while True:
        cursor, found = yield from memory_ids(keys, cursor, SCAN_COUNT)
        waiting += found
        while len(waiting) >= BATCH or (waiting and not cursor):
            if not tally.total:  # counted here because a store without memories may have no index
                tally.total = yield from indexed_count(keys)
            yield from _look(keys, settings, waiting[:BATCH], tally)
            del waiting[:BATCH]
        if not cursor:
            return tally.audit()


def _draw(keys: Keys, sample: int, chance: random.Random) -> Exchange[list[str]]:
    """A uniform sample of all ids, by reservoir sampling while they are read."""
    chosen: list[str] = []
    cursor = seen = 0
    while True:
        cursor, found = yield from memory_ids(keys, cursor, SCAN_COUNT)
        for memory_id in found:
            seen += 1
            if len(chosen) < sample:
                chosen.append(memory_id)
            elif (place := chance.randrange(seen)) < sample:
                chosen[place] = memory_id
        if not cursor:
            return list(dict.fromkeys(chosen))


def _look(keys: Keys, settings: Settings, ids: Sequence[str], tally: _Tally) -> Exchange[None]:
    diagnoses = yield from _diagnoses(keys, settings, ids)
    suspects = [diagnosis.memory_id for diagnosis in diagnoses if not diagnosis.ok]
    if suspects:
        for diagnosis in (yield from _diagnoses(keys, settings, suspects)):
            tally.add(diagnosis)
    tally.advance(len(diagnoses))


def _diagnoses(keys: Keys, settings: Settings, ids: Sequence[str]) -> Exchange[list[Diagnosis]]:
    """The diagnoses of the memories that still exist."""
    spaces, read = yield from readings(settings, keys, ids)
    return [checks.diagnose(reading, spaces) for reading in read if reading.memory_type != "none"]


class _Tally:
    def __init__(self, report: Report) -> None:
        self.total = 0
        self._report = report
        self._looked_at = 0
        self._wrong = 0
        self._by_check: Counter[Check] = Counter()
        self._damaged: list[Damaged] = []

    def add(self, diagnosis: Diagnosis) -> None:
        """Counts a damaged memory."""
        if diagnosis.ok:
            return
        self._wrong += 1
        self._by_check.update(finding.check for finding in diagnosis.wrong)
        if len(self._damaged) < MAX_DAMAGED:
            damaged = Damaged(memory_id=diagnosis.memory_id, project=diagnosis.project, findings=diagnosis.wrong)
            self._damaged.append(damaged)

    def advance(self, count: int) -> None:
        """Reports the progress; the index may hold fewer memories than exist."""
        self._looked_at += count
        self._report(self._looked_at, max(self.total, self._looked_at))

    def audit(self) -> Audit:
        """The counts, the most frequent check first."""
        return Audit(
            looked_at=self._looked_at,
            wrong=self._wrong,
            by_check=dict(self._by_check.most_common()),
            damaged=self._damaged,
        )
