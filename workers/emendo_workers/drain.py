"""One drain of one shard, or of several that joined: the state machine at the heart of the system.

claim ── another holds the shard ──> leave
  |   └── too many of this process wait for the chat model ──> give it back, rung for when one of them ends
  |
take over what a dead reader left
  |
read a batch <────────┐
  |                   |
start, apply, finish  |
  |                   |
close ── more ────────┘
  |        └── batches are small, and this process has many drains: another one takes the shard over (`joining.py`)
  |
  ├── silent: the inbox is empty and the bell is gone
  ├── ring:   the time budget is over, a successor is rung for
  └── lost:   the lease ran out, somebody else has the shard
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from redis.exceptions import RedisError, ResponseError

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_client.records import job_of
from emendo_config.queues import INFERENCE, INTERACTIVE
from emendo_config.redis_io import as_text
from emendo_config.shards import queue_of
from emendo_workers import scripts
from emendo_workers.apply import apply_operations
from emendo_workers.durability import make_safe
from emendo_workers.erasure import forget_erased, forget_late
from emendo_workers.inference.run import infer
from emendo_workers.joining import QUICK, Claim, Drains
from emendo_workers.operations import Entry, Work, parse_work
from emendo_workers.outcomes import ItemOutcome, Outcome, judge, poisoned
from emendo_workers.reembedding.chunks import embed_chunk
from emendo_workers.reembedding.steps import take_steps
from emendo_workers.services import Services
from emendo_workers.slots import Slots
from emendo_workers.store_failures import failure_of, is_away

logger = logging.getLogger(__name__)

# What does not change memories has a way of its own.
_OTHERWISE = {"embed": embed_chunk, "migrate": take_steps}
GROUP = "workers"
# One name for every reader: the bell says who reads, and a successor finds what its predecessor left.
READER = "drain"
# A killed worker leaves a whole batch behind, mostly innocent; few enough to narrow a culprit down quickly.
RECOVERY_GROUP = 16
_counter = itertools.count(1)


class Drain:
    """One task's drain of its shard, and of those it is given meanwhile; `run` is all there is to call."""

    def __init__(self, services: Services, shard: str, hostname: str | None = None) -> None:
        self._services = services
        self._shard = shard
        self._queue = queue_of(shard)
        # A chunk is a batch already, and a job that needs the chat model is slow: one at a time.
        is_quick = self._queue == INTERACTIVE or (self._queue == INFERENCE and services.chat is None)
        self._batch = services.settings.drain_batch if is_quick else 1
        self._slots: list[Slots] = [] if is_quick else [services.background_slots]
        if self._queue == INFERENCE and not is_quick:
            self._slots.append(services.chat_slots)
        self._hostname = hostname
        self._inbox = services.keys.inbox(shard)
        self._bell = services.keys.bell(shard)
        self._owner = f"drain:{services.worker}:{next(_counter)}"
        self._claim = Claim(shard, self._inbox, self._bell, self._owner)
        self._claims: list[Claim] = []
        # What is not quick has batches of one job, and nothing to share.
        self._drains = services.drains if self._queue == INTERACTIVE else Drains(self._batch)

    def run(self) -> int:
        """Works the shard's inbox until it is empty or the time budget is over.

        Returns:
            How many attempts at jobs were made, of all shards it worked; 0 when another drain has the shard, or when
            as many drains of its kind as may be run in this process already.

        Raises:
            RedisError: Redis failed; the lease runs out and the sweeper rings again.
        """
        services = self._services
        if not self._call(scripts.claim(self._bell, self._owner, services.lease_ms)):
            return 0
        with ExitStack() as taken:
            for slots in self._slots:
                if not slots.take():
                    if self._close([self._claim], [self._claim]) == ["ring"]:
                        slots.wait(self._shard)
                    return 0
                taken.callback(slots.give_back)
            return self._drain()

    def _drain(self) -> int:
        services, count = self._services, 0
        ends = time.monotonic() + services.settings.drain_budget
        self._claims = [self._claim]
        services.keeper.keep(self._bell, self._owner)
        self._drains.enter(self._owner)
        try:
            self._ensure_group()
            with closing(self._recovered()) as recovered:
                for entries in recovered:
                    count += self._work(entries)
            while self._claims:
                began = time.monotonic()
                size = self._work(self._fresh())
                count += size
                is_quick = time.monotonic() - began < QUICK
                if time.monotonic() >= ends or self._makes_room:
                    self._close_each(self._claims)
                else:  # what waits for a slow provider waits in as many threads as there are
                    self._close_each([] if is_quick else self._claims[1:])
                self._claims += self._drains.note(self._owner, len(self._claims), size if is_quick else self._batch)
                if not self._claims:
                    self._claims = self._drains.leave(self._owner)
                elif self._drains.join(self._owner, self._claims):
                    self._claims = []
        finally:  # when Redis failed: what is still there is left to the sweeper
            for claim in [*self._claims, *self._drains.abandon(self._owner)]:
                services.keeper.let_go(claim.bell, claim.owner)
        logger.debug("drained", extra={"shard": self._shard, "attempts": count})
        return count

    @property
    def _makes_room(self) -> bool:
        """True when another shard's drain waits for a slot of this one's."""
        return any(slots.is_wanted for slots in self._slots)

    def _close_each(self, given_up: Collection[Claim]) -> None:
        """Ends what is to end of the shards it works, each by itself; those given up are rung for anew."""
        keeper = self._services.keeper
        held = [claim for claim in self._claims if not keeper.has_lost(claim.owner)]
        verdicts = self._close(held, given_up)
        stay = [claim for claim, verdict in zip(held, verdicts, strict=True) if verdict == "more"]
        for claim in set(self._claims).difference(stay):
            keeper.let_go(claim.bell, claim.owner)
        self._claims = stay
        for claim, verdict in zip(held, verdicts, strict=True):
            if verdict == "ring":
                self._services.bell.ring(claim.shard)

    def _close(self, claims: Sequence[Claim], given_up: Collection[Claim]) -> list[str]:
        ring_ttl_ms = int(self._services.settings.ring_ttl * 1000)
        replies = scripts.run(
            self._services.control,
            [
                scripts.close(
                    claim.bell,
                    claim.inbox,
                    claim.owner,
                    over_budget=claim in given_up,
                    ring_id=claim.owner,
                    ring_ttl_ms=ring_ttl_ms,
                )
                for claim in claims
            ],
        )
        return [as_text(reply) for reply in replies]

    def _fresh(self) -> list[Entry]:
        """Up to a batch of entries nobody has read, evenly of all shards it works."""
        count = max(1, self._batch // len(self._claims))
        streams: Any = {claim.inbox: ">" for claim in self._claims}
        reply: Any = self._services.control.xreadgroup(GROUP, READER, streams, count=count)
        return [
            Entry(as_text(inbox), as_text(entry_id), as_text(raw[b"job"]))
            for inbox, found in reply or []
            for entry_id, raw in found
        ]

    def _recovered(self) -> Generator[list[Entry], None, None]:
        """What a reader that died left unacknowledged: in small groups at first, from the third delivery on alone.

        Alone in the whole process, that is. An entry whose deliveries are used up has been killing its workers, and is
        dead-lettered.
        """
        control, settings = self._services.control, self._services.settings
        while True:
            pending = control.xpending_range(self._inbox, GROUP, min="-", max="+", count=settings.drain_batch)
            if not pending:
                return
            once = [as_text(item["message_id"]) for item in pending if item["times_delivered"] == 1]
            group = min(RECOVERY_GROUP, self._batch)
            for first in range(0, len(once), group):
                yield self._take_over(once[first : first + group])
            for item in pending:
                deliveries = int(item["times_delivered"])
                if deliveries == 1:
                    continue
                with self._services.suspects:
                    entries = self._take_over([as_text(item["message_id"])])
                    if deliveries >= settings.poison_deliveries:
                        self._bury(entries, deliveries)
                    else:
                        yield entries

    def _take_over(self, entry_ids: list[Any]) -> list[Entry]:
        """Claims entries, which counts a delivery; only just before they are worked, so that waiting is not counted."""
        control = self._services.control
        claimed: Any = control.xclaim(self._inbox, GROUP, READER, min_idle_time=0, message_ids=entry_ids)
        entries = [Entry(self._inbox, as_text(found), as_text(raw[b"job"])) for found, raw in claimed if raw]
        gone = set(entry_ids) - {entry.id for entry in entries}
        if gone:  # deleted from the stream: nothing left to do for them
            control.xack(self._inbox, GROUP, *gone)
        return entries

    def _work(self, entries: list[Entry]) -> int:
        """One attempt at each entry's job: start, apply, finish. A failing batch is tried again one by one."""
        works = self._start(entries)
        if not works:
            return 0
        began = time.monotonic()
        self._services.events.started(works, self._hostname, at_once=self._queue != INTERACTIVE)
        try:
            outcomes = self._attempt(works)
        except Exception as error:
            # What one job met must not hold back its neighbours. And an entry that is only left looks as if its worker
            # had died: where jobs and memories have a Redis each, an outage of one would use up all deliveries.
            if is_away(error):
                fields = {"shard": self._shard, "jobs": len(works), "error": type(error).__name__}
                logger.warning("the store is away; jobs wait", extra=fields)
            elif len(works) > 1:
                logger.exception("a batch failed; its jobs are tried one by one", extra={"shard": self._shard})
                return sum(self._work([Entry(work.inbox, work.entry, work.record_id)]) for work in works)
            outcomes = [self._failed(work, error) for work in works]
        ended = self._finish(outcomes)
        self._services.events.finished(outcomes, began, self._hostname, ended)
        return len(works)

    def _start(self, entries: list[Entry]) -> list[Work]:
        if not entries:
            return []
        keys = self._services.keys
        records = [(keys.job(entry.record_id), keys.job(job_of(entry.record_id))) for entry in entries]
        token = f"{self._owner}:{entries[0].id}:{time.monotonic_ns()}"
        replies = self._call(scripts.start(records, token, self._services.worker))
        works, settled = [], []
        for entry, values in zip(entries, replies, strict=True):
            if values is None:
                settled.append(entry)
            else:
                works.append(parse_work(entry, values, token))
        if settled:  # cancelled, or finished by a reader that died before it could acknowledge
            pipeline = self._services.control.pipeline()
            for entry in settled:
                pipeline.xack(entry.inbox, GROUP, entry.id)
                pipeline.xdel(entry.inbox, entry.id)
            pipeline.execute()
        return works

    def _attempt(self, works: list[Work]) -> list[Outcome]:
        services = self._services
        otherwise = _OTHERWISE.get(works[0].operations[0].op) if works[0].operations else None
        if otherwise is not None:
            return [otherwise(work, services) for work in works]
        worked = self._applied([work for work in works if not work.is_inferred])
        inferred = [work for work in works if work.is_inferred]
        worked += infer(inferred, services) if inferred else []
        outcomes = [item for _, items in worked for item in items]
        forget_erased(outcomes, services)
        safe = iter(make_safe(outcomes, services))
        return [
            judge(work, list(itertools.islice(safe, len(items))), services.settings, services.rng)
            for work, items in worked
        ]

    def _applied(self, works: list[Work]) -> list[tuple[Work, list[ItemOutcome]]]:
        services = self._services
        merger = services.merger if self._queue == INFERENCE else None
        operations = [operation for work in works for operation in work.waiting]
        dropped = {work.job_id for work in works if work.cancelled}
        outcomes = iter(apply_operations(operations, services, merger=merger, cancelled=dropped))
        return [(work, list(itertools.islice(outcomes, len(work.waiting)))) for work in works]

    def _failed(self, work: Work, error: Exception) -> Outcome:
        """The store's failure; or a defect of ours: said in the log, retried, and dead-lettered in the end."""
        if not is_away(error):
            logger.error("a job failed unexpectedly", extra={"job": work.record_id}, exc_info=error)
        if isinstance(error, RedisError):
            failure = failure_of(error)
        else:
            known = error if isinstance(error, EmendoError) else None
            failure = known or EmendoError(f"unexpected {type(error).__name__}", error_code="UNEXPECTED")
        items = [ItemOutcome(operation, error=failure) for operation in work.waiting]
        return judge(work, items, self._services.settings, self._services.rng)

    def _bury(self, entries: list[Entry], deliveries: int) -> None:
        self._finish([poisoned(work, deliveries) for work in self._start(entries)])

    def _finish(self, outcomes: list[Outcome]) -> dict[str, JobStatus]:
        """Records the outcomes; the batch jobs that ended with them."""
        of_inbox: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            of_inbox.setdefault(outcome.work.inbox, []).append(outcome)
        replies = scripts.run(self._services.control, [self._finishing(inbox, its) for inbox, its in of_inbox.items()])
        forget_late(outcomes, self._services)
        return {
            as_text(ended[at]): JobStatus(as_text(ended[at + 1]))
            for _, *ended in replies
            for at in range(0, len(ended), 2)
        }

    def _finishing(self, inbox: str, outcomes: list[Outcome]) -> scripts.Command:
        keys, settings = self._services.keys, self._services.settings
        works = [outcome.work for outcome in outcomes]
        return scripts.finish(
            inbox,
            keys,
            [(keys.job(work.record_id), keys.job(work.job_id), keys.conflicts(work.project)) for work in works],
            ttl=settings.job_ttl,
            feed_length=settings.feed_length,
            outcomes=[document for outcome in outcomes for document in outcome.documents()],
        )

    def _ensure_group(self) -> None:
        try:
            self._services.control.xgroup_create(self._inbox, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _call(self, command: scripts.Command) -> Any:
        return scripts.run(self._services.control, [command])[0]
