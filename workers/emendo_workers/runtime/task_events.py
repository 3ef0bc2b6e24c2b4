"""Celery task events for single jobs, so that Flower lists each job under its own id and name.

One drain works hundreds of jobs, and Flower shows each as a task. Events only serve the dashboard: if the broker cannot
take them they are dropped, and the job goes on. They hold ids, versions and error codes, never content.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.events.event import get_exchange
from celery.utils.time import utcoffset
from kombu import Connection, Producer

from emendo_client.models import JobStatus
from emendo_config.json_codec import compact_json
from emendo_workers.jobs.outcomes import Outcome
from emendo_workers.jobs.work import Work

logger = logging.getLogger(__name__)

# Events of one message, to bound its size.
MAX_PER_MESSAGE = 1_000
# Events that wait for a slow broker; beyond that the oldest are dropped.
MAX_WAITING = 100_000
# AMQP's delivery mode for messages that the broker need not keep.
_TRANSIENT = 1
# Characters of a memory's id in a result: enough to recognize it beside the whole id in the arguments.
_SHORT_ID = 8


Event = dict[str, Any]


class JobEvents:
    """Sends received, started and final events of jobs; thread-safe.

    It sends the documents and messages that Celery's EventDispatcher would send. The dispatcher itself takes one event
    at a time, which would cost more than everything else about an event.
    """

    def __init__(self, app: Celery, *, enabled: bool) -> None:
        self._app = app
        self._enabled = enabled
        self._sending = threading.Lock()
        self._waiting: deque[Event] = deque(maxlen=MAX_WAITING)
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def started(self, works: list[Work], hostname: str | None, *, at_once: bool) -> None:
        """Sends that attempts at jobs have begun.

        Args:
            works: the attempts.
            hostname: the worker's, as Celery names it.
            at_once: send now; otherwise with the next events, which halves the messages of quick work.
        """
        if not self._enabled:
            return
        events: list[Event] = []
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
        """Sends that the attempts have ended.

        Args:
            outcomes: of jobs and chunks.
            began: the batch's start on the monotonic clock.
            hostname: the worker's, as Celery names it.
            ended: the state of batch jobs that ended with one of the chunks.
        """
        if not self._enabled:
            return
        runtime = time.monotonic() - began
        events = [_final(outcome, runtime) for outcome in outcomes]
        events += [_ended(job_id, status, status.value, status.value, runtime) for job_id, status in ended.items()]
        self._send(events, hostname)

    def close(self) -> None:
        """Closes the connection to the broker."""
        with self._sending:
            self._drop()

    def _send(self, events: list[Event], hostname: str | None, *, flush: bool = True) -> None:
        common = {"hostname": hostname, "pid": os.getpid(), "utcoffset": utcoffset(), "timestamp": time.time()}
        clock: Any = self._app.clock  # type: ignore[attr-defined]  # the stubs do not know Celery's logical clock
        self._waiting.extend([{**event, **common, "clock": clock.forward()} for event in events])
        # One thread sends for all, and no other waits for it: it also sends the events that come meanwhile.
        while flush and self._waiting and self._sending.acquire(blocking=False):
            try:
                self._flush(hostname)
            finally:
                self._sending.release()

    def _flush(self, hostname: str | None) -> None:
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            for first in range(0, len(waiting), MAX_PER_MESSAGE):
                self._publish(waiting[first : first + MAX_PER_MESSAGE], hostname)
        except Exception as error:  # noqa: BLE001  # each transport raises errors of its own
            logger.warning("job events were dropped", extra={"error": type(error).__name__, "count": len(waiting)})
            self._drop()

    def _publish(self, events: list[Event], hostname: str | None) -> None:
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            exchange = get_exchange(self._connection, name=self._app.conf.event_exchange)
            self._producer = Producer(self._connection, exchange)
        self._producer.publish(
            compact_json(events),
            content_type="application/json",
            content_encoding="utf-8",
            routing_key="task.multi",
            headers={"hostname": hostname},
            delivery_mode=_TRANSIENT,
        )

    def _drop(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()


def _begun(work: Work, uuid: str, target: str) -> list[Event]:
    received: Event = {
        "type": "task-received",
        "uuid": uuid,
        "name": f"emendo.{work.kind}",
        "args": f"('{target}',)",
        "kwargs": "{}",
    }
    if work.attempts > 1:
        received["retries"] = work.attempts - 1
    if uuid != work.job_id:
        received["root_id"] = received["parent_id"] = work.job_id
    return [received, {"type": "task-started", "uuid": uuid}]


def _final(outcome: Outcome, runtime: float) -> Event:
    uuid = outcome.work.record_id
    code = outcome.error.error_code if outcome.error is not None else outcome.status.value
    if outcome.status is JobStatus.RETRYING:
        return {"type": "task-retried", "uuid": uuid, "exception": code, "traceback": ""}
    return _ended(uuid, outcome.status, code, _told(outcome, runtime), runtime)


def _told(outcome: Outcome, runtime: float) -> str:
    """The result as an operator reads it: `update 3f2c9a1e v7 in 38 ms`."""
    changed = [item for item in outcome.results if item and item.get("event")]
    if not changed:
        what = "no change"
    elif len(changed) == 1:
        what = f"{str(changed[0]['memory_id'])[:_SHORT_ID]} v{changed[0]['version']}"
    else:
        what = f"{len(changed)} changes"
    failures = len(outcome.failures)
    failed = f", {failures} failed" if failures else ""
    return f"{outcome.work.kind} {what}{failed} in {runtime * 1_000:.0f} ms"


def _ended(uuid: str, status: JobStatus, code: str, result: str, runtime: float) -> Event:
    if status is JobStatus.FAILED:
        return {"type": "task-failed", "uuid": uuid, "exception": code, "traceback": ""}
    if status is JobStatus.CANCELLED:
        return {"type": "task-revoked", "uuid": uuid, "terminated": False, "signum": None, "expired": False}
    return {"type": "task-succeeded", "uuid": uuid, "result": f"'{result}'", "runtime": runtime}
