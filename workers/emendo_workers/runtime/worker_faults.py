"""Faults of the worker or its accounts: no job is to blame, so the worker claims none until the fault is gone.

A revoked key, a provider that is not installed here, or a registry of embedding spaces that this release cannot read
would fail every job. The jobs wait and spend no attempts, also for other workers that can do them. A used-up quota,
or a job that needs a newer release, is said in the same way and blocks no queue: other jobs go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from redis.exceptions import RedisError

from emendo_client.errors import EmendoError, NetworkError
from emendo_config.json_codec import compact_json
from emendo_config.queues import BULK, INFERENCE, INTERACTIVE, QUEUES
from emendo_workers.jobs.retry import is_lasting
from emendo_workers.runtime.leases import LeaseRenewer

logger = logging.getLogger(__name__)

# Seconds between two probes of a fault.
PROBE_PAUSE = 3.0
# Seconds after which a fault that lasts is logged again.
REMINDER = 60.0
# Queues whose jobs need the vectors of every live space. Maintenance goes on, since a re-embedding may be the remedy.
NEED_EMBEDDING = (INTERACTIVE, BULK, INFERENCE)
NEED_CHAT = (INFERENCE,)
NEED_SPACES = QUEUES


@dataclass(slots=True)
class _Fault:
    error: EmendoError
    queues: Collection[str]
    probe: Callable[[], object]
    since: float
    logged: float


class WorkerFaults:
    """The faults of one worker; thread-safe."""

    def __init__(self, leases: LeaseRenewer) -> None:
        self._leases = leases
        self._faults: dict[str, _Fault] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def blocks(self, queue: str) -> bool:
        """True when the worker must not claim shards of the queue."""
        return bool(self._faults) and any(queue in fault.queues for fault in list(self._faults.values()))

    def report(self, name: str, error: EmendoError, queues: Collection[str], probe: Callable[[], object]) -> None:
        """Stops claiming the queues until a probe succeeds.

        Args:
            name: what is at fault; a fault that is known is left alone.
            error: why.
            queues: whose jobs need it; none when the worker only leaves single jobs to others.
            probe: raises the same kind of error while the fault lasts.
        """
        with self._lock:
            if name in self._faults:
                return
            self._faults[name] = _Fault(error, queues, probe, time.time(), time.monotonic())
            self._tell()
            self._log(name, self._faults[name])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="emendo-probe", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Probes every fault once; what is gone no longer blocks."""
        for name, fault in list(self._faults.items()):
            try:
                fault.probe()
            except (NetworkError, RedisError):  # whether the fault lasts is not known
                continue
            except EmendoError as error:
                if is_lasting(error):
                    self._remind(name, fault)
                    continue
            with self._lock:
                self._faults.pop(name, None)
                self._tell()
            logger.warning("the worker's fault is gone; it claims all jobs again", extra={"fault": name})

    def stop(self) -> None:
        """Stops probing."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(PROBE_PAUSE):
            try:
                self.look()
            except Exception:  # any defect: without this thread the worker would never claim again
                logger.exception("a fault of the worker could not be probed")
            with self._lock:
                if not self._faults:
                    self._thread = None
                    return

    def _remind(self, name: str, fault: _Fault) -> None:
        if time.monotonic() - fault.logged >= REMINDER:
            fault.logged = time.monotonic()
            self._log(name, fault)

    @staticmethod
    def _log(name: str, fault: _Fault) -> None:
        fields = {"fault": name, "error": fault.error.error_code, "queues": ",".join(fault.queues)}
        effect = "the worker claims no jobs" if fault.queues else "some jobs wait"
        logger.error("%s, because of a fault of its own: %s", effect, fault.error, extra=fields)

    def _tell(self) -> None:
        """Lets the next sign of life say the oldest fault that blocks a queue, or else the oldest, and these queues."""
        faults = list(self._faults.values())
        if not faults:
            self._leases.fault = ""
            return
        first = next((fault for fault in faults if fault.queues), faults[0])
        document = {
            "code": first.error.error_code,
            "message": first.error.message,
            "suggestion": first.error.suggestion,
            "queues": [queue for queue in QUEUES if any(queue in fault.queues for fault in faults)],
            "since": first.since,
        }
        self._leases.fault = compact_json(document)
