"""Celery task events for single jobs, so that Flower lists each under its own id and name.

One drain works hundreds of jobs; to Flower each looks like a task of its own. Events are sent for the
dashboard's sake only: when the broker cannot take them they are dropped, and the job goes on.
Arguments and results shown are ids, versions and error codes, never content.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.events.dispatcher import EventDispatcher
from celery.utils.time import utcoffset
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from emendo_client.models import JobStatus
from emendo_workers.operations import Work
from emendo_workers.outcomes import Outcome

logger = logging.getLogger(__name__)

# Events per message; the drain flushes after each of its steps, so this only bounds one message's size.
MOST_PER_MESSAGE = 1_000


class JobEvents:
    """Sends received, started and final events of jobs; thread-safe."""

    def __init__(self, app: Celery, *, enabled: bool) -> None:
        self._app = app
        self._enabled = enabled
        self._hostname: str | None = None
        self._lock = threading.Lock()
        self._dispatcher: EventDispatcher | None = None

    def started(self, works: list[Work], hostname: str | None, *, at_once: bool) -> None:
        """The jobs were taken from the inbox and are being worked on.

        Args:
            works: the attempts.
            hostname: the worker's, as Celery names it.
            at_once: send now; otherwise with what comes next, which halves the messages of quick work.
        """
        if not self._enabled:
            return
        events: list[tuple[str, dict[str, Any]]] = []
        for work in works:
            if work.record_id == f"{work.job_id}:0":
                events += _begun(work, work.job_id, "a batch")
            count = len(work.operations)
            target = (work.operations[0].memory_id or "a conversation") if count == 1 else f"{count} memories"
            events += _begun(work, work.record_id, target)
        self._send(events, hostname, flush=at_once)

    def finished(
        self,
        outcomes: list[Outcome],
        began: float,
        hostname: str | None,
        ended: Mapping[str, JobStatus],
    ) -> None:
        """The attempts ended.

        Args:
            outcomes: of jobs and chunks.
            began: the batch's start on the monotonic clock.
            hostname: the worker's, as Celery names it.
            ended: batch jobs that ended with one of the chunks.
        """
        if not self._enabled:
            return
        runtime = time.monotonic() - began
        events = [_final(outcome, runtime) for outcome in outcomes]
        events += [_ended(job_id, status, status.value, f"'{status}'", runtime) for job_id, status in ended.items()]
        self._send(events, hostname)

    def close(self) -> None:
        """Closes the connection to the broker."""
        with self._lock:
            self._drop()

    def _send(self, events: list[tuple[str, dict[str, Any]]], hostname: str | None, *, flush: bool = True) -> None:
        offset: Any = utcoffset()  # of one moment for all: it is worked out from the time zone at every call
        with self._lock:
            try:
                dispatcher = self._connected(hostname)
                for kind, fields in events:
                    dispatcher.send(kind, utcoffset=lambda: offset, **fields)
                if flush:
                    dispatcher.flush(errors=False)
            except (OperationalError, RedisError, OSError) as error:
                logger.warning("job events were dropped", extra={"error": type(error).__name__, "count": len(events)})
                self._drop()

    def _connected(self, hostname: str | None) -> EventDispatcher:
        if self._dispatcher is None:
            self._dispatcher = self._app.events.Dispatcher(
                self._app.connection_for_write(),
                hostname=hostname,
                buffer_group=frozenset({"task"}),
                buffer_limit=MOST_PER_MESSAGE,
                buffer_while_offline=False,
            )
        return self._dispatcher

    def _drop(self) -> None:
        if self._dispatcher is not None:
            connection = self._dispatcher.connection
            self._dispatcher = None
            if connection is not None:
                connection.release()


def _begun(work: Work, uuid: str, target: str) -> list[tuple[str, dict[str, Any]]]:
    received: dict[str, Any] = {"uuid": uuid, "name": f"emendo.{work.kind}", "args": f"('{target}',)", "kwargs": "{}"}
    if work.attempts > 1:
        received["retries"] = work.attempts - 1
    if uuid != work.job_id:
        received["root_id"] = received["parent_id"] = work.job_id
    return [("task-received", received), ("task-started", {"uuid": uuid})]


def _final(outcome: Outcome, runtime: float) -> tuple[str, dict[str, Any]]:
    uuid = outcome.work.record_id
    code = outcome.error.error_code if outcome.error is not None else outcome.status.value
    if outcome.status is JobStatus.RETRYING:
        return "task-retried", {"uuid": uuid, "exception": code, "traceback": ""}
    versions = ", ".join(str((item or {}).get("version")) for item in outcome.results[:3])
    return _ended(uuid, outcome.status, code, f"'{outcome.status} v{versions}'", runtime)


def _ended(uuid: str, status: JobStatus, code: str, result: str, runtime: float) -> tuple[str, dict[str, Any]]:
    if status is JobStatus.FAILED:
        return "task-failed", {"uuid": uuid, "exception": code, "traceback": ""}
    if status is JobStatus.CANCELLED:
        return "task-revoked", {"uuid": uuid, "terminated": False, "signum": None, "expired": False}
    return "task-succeeded", {"uuid": uuid, "result": result, "runtime": runtime}
