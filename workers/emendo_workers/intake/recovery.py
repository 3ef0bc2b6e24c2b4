"""Recovery: works the entries of an inbox that were read and not ended: their reader died, or its answer was lost."""

from __future__ import annotations

import threading

from emendo_workers.intake import inbox
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.store import Store

# A killed worker leaves a whole batch behind, mostly innocent. Groups this small narrow a culprit down quickly.
RECOVERY_GROUP = 16


def recover(store: Store, runner: BatchRunner, poison_lock: threading.Lock, stream: str, max_batch: int) -> int:
    """Works what a reader left unacknowledged; how many attempts were made.

    Entries delivered once are worked in small groups. From the third delivery on an entry is worked alone in its
    process. `BatchRunner` dead-letters a job over which `EMENDO_POISON_DELIVERIES` workers died.

    Entries are taken over only just before they are worked, so that no delivery is counted while they wait.

    Args:
        store: the worker's.
        runner: works the entries.
        poison_lock: the process's, held while an entry is worked alone.
        stream: the inbox.
        max_batch: jobs that may be worked together.
    """
    count, group, worked = 0, min(RECOVERY_GROUP, max_batch), set[str]()
    # Once each: a stale attempt leaves its entry, and the drain looks again a second later.
    while left := [
        entry
        for entry in inbox.left_behind(store.control, stream, store.settings.drain_batch)
        if entry.id not in worked
    ]:
        worked.update(entry.id for entry in left)
        first = [entry.id for entry in left if entry.deliveries == 1]
        for start in range(0, len(first), group):
            count += runner.run(inbox.take_over(store.control, stream, first[start : start + group]), left=True)
        for entry in left:
            if entry.deliveries == 1:
                continue
            with poison_lock:
                count += runner.run(inbox.take_over(store.control, stream, [entry.id]), left=True)
    return count
