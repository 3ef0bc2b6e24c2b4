"""Re-embeddings of the store that an example works with, and what the model says of them.

They concern the projects of all examples, so none is left under way. No time passes for them either, unless a rule
says so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.errors import ConflictError, JobTimeoutError
from emendo_client.exchanges.reembedding.models import MigrationPhase as Phase
from emendo_config.queues import MAINTENANCE
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.registry import read_registry
from emendo_config.store.pipeline import as_text
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.reembedding import phases
from emendo_workers.services import Services
from tests.model import compare
from tests.model.reference import ReferenceMemory, ReferenceSpaces
from tests.support.migrating import active_space, indexes, registered
from tests.support.patience import PATIENCE

# Dimensions; the settings' are a third choice, until they are left.
SIZES = (32, 48, 96)
# The phases that a pause stops.
_STANDING = (Phase.BACKFILL, Phase.CATCHING_UP, Phase.VERIFYING)
_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def rebuild_store(services: Services) -> None:
    """Empties the store, whatever an example that failed has left under way in it."""
    for index in indexes(services):
        services.data.execute_command("FT.DROPINDEX", index)
    for name in services.data.scan_iter(match=f"{services.settings.key_prefix}*", count=1_000):
        services.data.unlink(name)
    ensure_index(services.data, services.settings)


class Reembedding:
    """One example's re-embeddings, one after another; `spaces` is the model of what they come to."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.spaces = ReferenceSpaces(active_space(services).space.dimensions)
        self._client = MemoryClient(services.settings, project="operators")
        self._first: Job | None = None
        self._open: list[tuple[Job, str]] = []  # and how each must end
        self._is_paused = False

    def close(self) -> None:
        self._client.close()

    # Operators.

    def begin(self, number: int) -> None:
        """Begins one, which is refused while another is under way."""
        others = [size for size in SIZES if size != self.spaces.active]
        dimensions = others[number % len(others)]
        if self.spaces.are_changing:
            assert self._first is not None
            with pytest.raises(ConflictError) as refused:
                self._client.reembed(dimensions=dimensions)
            assert refused.value.details == {"job_id": self._first.id}
            return
        self._first = self._client.reembed(dimensions=dimensions)
        self._open.append((self._first, "succeeded"))
        self.spaces.begin(dimensions)
        self._is_paused = False

    def steer(self, *, pause: bool) -> None:
        """Pauses it, or lets it go on; refused when none is under way."""
        call = self._client.pause_reembed if pause else self._client.resume_reembed
        if not self.spaces.are_changing:
            with pytest.raises(ConflictError):
                call()
            return
        call()
        self._is_paused = pause

    def end(self, *, back: bool) -> None:
        """Goes back to the old space or gives it up; before the switch, cancels."""
        end = self._client.rollback_reembed if back else self._client.finalize_reembed
        if self.spaces.kept is not None and not self.spaces.are_ending:
            self._open.append((end(), "succeeded"))
            self.spaces.are_ending = True
            return
        if not self.spaces.are_ending:
            with pytest.raises(ConflictError):
                end()
        if self.spaces.coming is not None:
            assert self._first is not None
            with pytest.raises(JobTimeoutError):  # nobody works it just now
                self._first.cancel(timeout=0.0)
            self._open = [(self._first, "cancelled")]
            self.spaces.are_ending = True

    # Workers.

    def take_steps(self, count: int | None) -> None:
        """Takes so many single steps, and works the chunks they queue; None: all until the job's end."""
        if count is None:
            self.finish()
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(phases, "ATTEMPT_SECONDS", 0.0)
            for _ in range(count):
                if not self._open:
                    break
                self._work()

    def finish(self) -> None:
        """Works until what is under way has come to its end; what stands still goes on first."""
        if self._is_paused and self.spaces.are_changing:
            self.steer(pause=False)
        deadline = time.monotonic() + PATIENCE  # a new index is filled in Redis's own time
        while self._open:
            assert time.monotonic() < deadline, self._client.migration()
            self._work()

    def _work(self) -> None:
        before = self._client.migration()
        self._work_once()
        now = self._client.migration()
        assert before is not None
        assert now is not None
        if self._is_paused and not self.spaces.are_ending and before.phase in _STANDING:
            assert (now.job_id, now.phase) == (before.job_id, before.phase), "it went on although it was paused"

    def _work_once(self) -> None:
        control, keys = self.services.control, self.services.keys
        members = [as_text(each) for each in control.zrange(keys.delayed, 0, -1)]
        due = dict.fromkeys([each for each in members if each.startswith(MAINTENANCE)], 0)
        if due:
            control.zadd(keys.delayed, due, xx=True)
            Sweeper(self.services).sweep()
        for shard in sorted(as_text(raw) for raw in control.smembers(keys.shards)):
            if shard.startswith(MAINTENANCE) and control.xlen(keys.inbox(shard)):
                Drain(self.services, shard).run()
        self._learn()

    def _learn(self) -> None:
        """Compares the outcome; the model foresees which space is searched then."""
        state = self._client.migration()
        assert state is not None
        assert (state.failed, state.failures) == (0, {})
        if state.phase is Phase.SWITCHED and self.spaces.coming is not None:
            self.spaces.switch()
        elif state.phase in _BACK and self.spaces.kept is not None:
            self.spaces.go_back()
        still = []
        for job, expected in self._open:
            status = job.status()
            assert status in (expected, "queued", "retrying"), job.info()
            if not status.is_final:
                still.append((job, expected))
        self._open = still
        if not state.active:
            self.spaces.settle()

    # Outcomes.

    def compare_spaces(self) -> None:
        """The one that is searched is the model's, and no other is there unless one is coming or going."""
        active = active_space(self.services)
        assert active.space.dimensions == self.spaces.active
        if not self.spaces.are_changing:
            assert registered(self.services) == [active.name]
            assert indexes(self.services) == {self.services.keys.index(active.name)}

    def compare_vectors(self, memories: Sequence[ReferenceMemory]) -> None:
        """Each memory has the active space's vector of its text, and no vector of any other text."""
        records = read_registry(self.services.data, self.services.keys)
        active = active_space(self.services)
        pipeline = self.services.data.pipeline(transaction=False)
        for memory in memories:
            pipeline.hgetall(self.services.keys.memory(memory.id))
        for memory, fields in zip(memories, pipeline.execute(), strict=True):
            compare.vectors(fields, memory, records, active)
