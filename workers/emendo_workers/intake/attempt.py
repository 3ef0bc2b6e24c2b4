"""One attempt at a batch of jobs: start → work → finish."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from redis.exceptions import RedisError, ResponseError

from emendo_client.errors import EmendoError
from emendo_client.exchanges.redis_errors import translate
from emendo_client.models import JobStatus
from emendo_config import metric_families as metrics
from emendo_config import project_limits
from emendo_config.queues import INFERENCE, INTERACTIVE
from emendo_config.shards import queue_of
from emendo_config.store import scripts
from emendo_config.store.format_versions import too_old
from emendo_config.store.formats import attempt_token, job_of
from emendo_config.store.refusals import is_refused
from emendo_workers.intake import inbox
from emendo_workers.intake.batch_spans import BatchSpans
from emendo_workers.intake.burial import Unreadable, burial
from emendo_workers.intake.dispatch import outcomes_of
from emendo_workers.jobs import counts, retry
from emendo_workers.jobs.dead_letter_erasure import redact_recorded
from emendo_workers.jobs.finish_documents import finish_documents, waiting_document
from emendo_workers.jobs.outcomes import ItemOutcome, Outcome
from emendo_workers.jobs.settlement import poisoned, settle
from emendo_workers.jobs.store_outages import failure_of, is_away
from emendo_workers.jobs.work import Entry, UnreadableRecordError, Work, parse_work
from emendo_workers.services import Services

logger = logging.getLogger(__name__)


class BatchRunner:
    """Attempts the jobs of one drain, batch by batch.

    Args:
        services: the worker's.
        shard: the drain's first one; all it works are of one queue.
        owner: the drain's name, which the tokens of its attempts begin with.
        hostname: the worker's, as Celery names it.

    Attributes:
        has_left_some: entries are left that a batch had no room for.
    """

    def __init__(self, services: Services, shard: str, owner: str, hostname: str | None) -> None:
        self._services = services
        self._store = services.store
        self._shard = shard
        self._queue = queue_of(shard)
        self._owner = owner
        self._hostname = hostname
        self._began = 0.0
        self.has_left_some = False

    def run(self, entries: Sequence[Entry], *, left: bool = False) -> int:
        """Attempts each entry's job and records the outcome; if the batch fails, each job is tried by itself.

        Args:
            entries: of any shards of the queue. Those that the batch has no room for stay unacknowledged.
            left: another attempt was to work them and did not acknowledge them.

        Returns:
            How many attempts were made. Entries whose jobs need no work are acknowledged and do not count.
        """
        named = [entry for entry in entries if entry.record_id]
        if len(named) < len(entries):
            self._drop([entry for entry in entries if not entry.record_id], "an inbox entry names no job")
        if not named:
            return 0
        token = attempt_token(self._owner, named[0].id, time.monotonic_ns())
        with self._services.living_attempts.attempt(token):
            return self._run(named, token, left=left)

    def _run(self, entries: Sequence[Entry], token: str, *, left: bool) -> int:
        works, poisons = self._start(entries, token, left=left)
        if poisons:
            self._finish(poisons)
        if not works:
            return 0
        self._note_begin(len(works), left=left)
        spans = BatchSpans(self._store.tally.tracer)
        with spans.around(self._queue, works, left=left):
            return self._attempt(works, spans)

    def _attempt(self, works: list[Work], spans: BatchSpans) -> int:
        began = time.monotonic()
        self._services.events.started(works, self._hostname, at_once=self._queue != INTERACTIVE)
        try:
            outcomes = self._work(works)
        except Exception as error:
            # One job's failure must not hold back its neighbours. Every entry needs an outcome: one that is left looks
            # as if its worker had died. So an outage of the memories' Redis would use up all deliveries.
            if isinstance(error, EmendoError) and retry.is_worker_fault(error):
                self._services.report_job_fault(error)
            elif isinstance(error, RedisError) and is_refused(error):
                self._services.report_rights_fault(translate(error))
            elif is_away(error):
                fields = {"shard": self._shard, "jobs": len(works), "error": type(error).__name__}
                logger.warning("the store cannot be used; jobs wait", extra=fields)
            elif len(works) > 1:
                logger.exception("a batch failed; its jobs are tried one by one", extra={"shard": self._shard})
                return sum(self.run([Entry(work.inbox, work.entry, work.record_id)]) for work in works)
            outcomes = [self._failure(work, error) for work in works]
        ended = self._finish(outcomes)
        spans.end(outcomes)
        self._services.events.finished(outcomes, began, self._hostname, ended)
        return len(works)

    def _note_begin(self, jobs: int, *, left: bool) -> None:
        self._store.tally.begin_batch()
        self._began = self._store.control_time()
        counted: dict[str, int] = {}
        metrics.observe(counted, metrics.BATCH_JOBS, [(jobs, 1)])
        if left:
            metrics.count(counted, metrics.REDELIVERIES, by=jobs)
        self._store.tally.add(counted)

    def _start(self, entries: Sequence[Entry], token: str, *, left: bool) -> tuple[list[Work], list[Outcome]]:
        """Begins an attempt at each entry's job: those to be worked, and the outcomes of those that kill workers.

        Entries whose jobs need no work are acknowledged. Records that cannot be read become dead letters.
        """
        try:
            begun, counts = self._begin(entries, token, left=left)
        except ResponseError as error:
            if is_away(error):
                raise
            self._isolate(entries, error, lambda entry: self.run([entry], left=left))
            return [], []
        words = (None, scripts.GONE, scripts.OTHER_TYPE, scripts.NEWER, scripts.LATER)
        unbegun: dict[str | None, list[Entry]] = {word: [] for word in words}
        works, poisons = [], []
        for entry, started, deaths in zip(entries, begun, counts, strict=True):
            if not isinstance(started, scripts.Started):
                unbegun[started].append(entry)
                continue
            try:
                work = parse_work(entry, started, token)
            except UnreadableRecordError as error:
                self._bury(Unreadable(entry, token, str(error)))
                continue
            except EmendoError as error:  # its payload is too new
                self._leave_to_newer(entry, error, token)
                continue
            if deaths < self._store.settings.poison_deliveries:
                works.append(work)
            else:
                poisons.append(poisoned(work, deaths))
        if unbegun[None]:  # cancelled, or finished by a reader that died before it could acknowledge
            inbox.acknowledge(self._store.control, unbegun[None])
        if unbegun[scripts.GONE]:
            self._drop(unbegun[scripts.GONE], "an inbox entry's job has no record")
        for entry in unbegun[scripts.OTHER_TYPE]:
            self._bury(Unreadable(entry, token, scripts.OTHER_TYPE))
        for entry in unbegun[scripts.NEWER]:
            self._leave_to_newer(entry, too_old("a job's record has a format that this release does not read"))
        self.has_left_some |= bool(unbegun[scripts.LATER])
        return works, poisons

    def _begin(
        self, entries: Sequence[Entry], token: str, *, left: bool
    ) -> tuple[list[scripts.Started | str | None], list[int]]:
        """The reply of `start.lua` for each entry's record, and how many workers died over it."""
        store, keys, worker = self._store, self._store.keys, self._services.worker
        records = [scripts.Attempt(keys.job(entry.record_id), keys.job(job_of(entry.record_id))) for entry in entries]
        counts = [0] * len(entries)
        if left:  # in a round trip of its own: it must see the records as they were left
            count = scripts.deaths(
                workers=keys.workers,
                worker=worker,
                silence_ms=store.lease_ms * 2 // 3,  # a live worker gives two signs in this time
                living=self._services.living_attempts.tokens,
                records=[attempt.record for attempt in records],
            )
            counts = scripts.deaths.reply(scripts.run(store.control, [count])[0])
        budget, traced = store.settings.drain_bytes, store.tally.tracer is not None
        start = scripts.start(token=token, worker=worker, budget=budget, traced=traced, records=records)
        (reply,) = scripts.run(store.control, [start])
        return scripts.start.reply(reply), counts

    def _bury(self, unreadable: Unreadable) -> None:
        entry = unreadable.entry
        try:
            ending = burial(self._store, unreadable)
            (reply,) = scripts.run(self._store.control, [self._finish_command(entry.inbox, [ending])])
            if scripts.finish.reply(reply).recorded:
                self._store.tally.add(counts.buried(is_chunk=job_of(entry.record_id) != entry.record_id))
        except ResponseError as error:
            if is_away(error):
                raise
            self._postpone_refused(entry, error)
        else:
            self._services.notifier.notify_each(scripts.admitted_shards(reply))

    def _leave_to_newer(self, entry: Entry, error: EmendoError, attempt: str = "") -> None:
        """Puts a job aside that only a worker of a newer release can read; no attempt is spent.

        Args:
            entry: the job's.
            error: why.
            attempt: the attempt's token; empty when none began, so that nothing of the record is touched.
        """
        services = self._services
        services.report_release_fault(error, entry.record_id)
        due = int(retry.decide(error, 1, self._store.settings, services.rng).delay * 1_000)
        if not attempt:
            self._postpone(entry, due)
            return
        keys, job_id = self._store.keys, job_of(entry.record_id)
        document = waiting_document(entry, attempt, error, due)
        ending = scripts.Ending(keys.job(entry.record_id), keys.job(job_id), keys.conflicts(""), document, "[]")
        try:
            scripts.run(self._store.control, [self._finish_command(entry.inbox, [ending])])
        except ResponseError as refusal:
            if is_away(refusal):
                raise
            self._postpone_refused(entry, refusal)

    def _drop(self, entries: Sequence[Entry], reason: str) -> None:
        """Acknowledges entries that stand for no job."""
        for entry in entries:
            logger.warning(reason, extra={"inbox": entry.inbox, "entry": entry.id})
        inbox.acknowledge(self._store.control, entries)

    def _isolate(self, entries: Sequence[Entry], error: ResponseError, alone: Callable[[Entry], object]) -> None:
        """Tries each entry alone after Redis refused them together; the one that it refuses alone is postponed."""
        if len(entries) > 1:
            for entry in entries:
                alone(entry)
        else:
            self._postpone_refused(entries[0], error)

    def _postpone_refused(self, entry: Entry, error: ResponseError) -> None:
        """Puts an entry aside whose record Redis refuses to read or write, so that its shard goes on."""
        logger.error("Redis refuses a job's record; its entry waits", extra={"job": entry.record_id}, exc_info=error)
        self._postpone(entry, int(self._store.settings.retry_max * 1_000))

    def _postpone(self, entry: Entry, milliseconds: int) -> None:
        due = int(self._store.control_time() * 1_000) + milliseconds
        inbox.postpone(self._store.control, self._store.keys, entry, due)

    def _work(self, works: Sequence[Work]) -> list[Outcome]:
        # Only inference shards may wait for the chat model.
        return outcomes_of(works, self._services, self._services.merger if self._queue == INFERENCE else None)

    def _failure(self, work: Work, error: Exception) -> Outcome:
        """The outcome of a job that the store failed, or that met a defect of ours: logged, retried, dead-lettered."""
        if not is_away(error) and not (isinstance(error, EmendoError) and retry.is_worker_fault(error)):
            logger.error("a job failed unexpectedly", extra={"job": work.record_id}, exc_info=error)
        failure = failure_of(error)
        items = [ItemOutcome(operation, error=failure) for operation in work.waiting]
        return settle(work, items, self._store.settings, self._services.rng)

    def _finish(self, outcomes: Sequence[Outcome]) -> dict[str, JobStatus]:
        """Records the outcomes and acknowledges their entries; the batch jobs that ended with them."""
        of_inbox: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            of_inbox.setdefault(outcome.work.inbox, []).append(outcome)
        commands = [self._finish_command(stream, map(self._ending, its)) for stream, its in of_inbox.items()]
        try:
            with self._store.tally.stage(metrics.COMMIT, "finish"):
                replies = scripts.run(self._store.control, commands)
        except ResponseError as error:
            if is_away(error):
                raise
            return self._finish_each(outcomes, error)
        self._count(of_inbox.values(), scripts.finish.replies(replies))
        redact_recorded(outcomes, self._store)
        self._services.notifier.notify_each([shard for reply in replies for shard in scripts.admitted_shards(reply)])
        return {
            job_id: JobStatus(status)
            for finished in scripts.finish.replies(replies)
            for job_id, status in finished.ended.items()
        }

    def _count(self, of_inbox: Iterable[list[Outcome]], replies: Sequence[scripts.Finished]) -> None:
        """Adds the outcomes that were recorded to the metrics."""
        recorded = [
            outcome
            for outcomes, finished in zip(of_inbox, replies, strict=True)
            for place, outcome in enumerate(outcomes)
            if place not in finished.unrecorded
        ]
        ended = {job_id: JobStatus(status) for finished in replies for job_id, status in finished.ended.items()}
        times = counts.Times(self._began, self._store.control_clock.read(), self._store.tally.stages)
        self._store.tally.add(counts.counts_of(recorded, ended, times))

    def _finish_each(self, outcomes: Sequence[Outcome], error: ResponseError) -> dict[str, JobStatus]:
        """Records each outcome by itself after Redis refused them together; those recorded already stay as they are."""
        ended: dict[str, JobStatus] = {}
        if len(outcomes) > 1:
            for outcome in outcomes:
                ended |= self._finish([outcome])
        else:
            work = outcomes[0].work
            self._postpone_refused(Entry(work.inbox, work.entry, work.record_id), error)
        return ended

    def _ending(self, outcome: Outcome) -> scripts.Ending:
        keys, work = self._store.keys, outcome.work
        return scripts.Ending(
            keys.job(work.record_id), keys.job(work.job_id), keys.conflicts(work.project), *finish_documents(outcome)
        )

    def _finish_command(self, stream: str, endings: Iterable[scripts.Ending]) -> scripts.Command:
        keys, settings = self._store.keys, self._store.settings
        return scripts.finish(
            inbox=stream,
            feed=keys.feed,
            delayed=keys.delayed,
            dead_projects=keys.dead_projects,
            cancelling=keys.cancelling,
            ttl=settings.job_ttl,
            feed_length=settings.feed_length,
            channel_prefix=keys.job_channels,
            lock_queue_prefix=keys.lock_queue_prefix,
            dead_prefix=keys.dead(""),
            dead_of_prefix=keys.dead_of(""),
            windows=project_limits.windows(keys, settings),
            endings=list(endings),
        )
