"""Batch requests: many operations under one job id, cut into chunks as they are read.

A worker takes one chunk at once. Operations are read one append ahead, so a generator of a million items never sits in
memory.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from emendo_client.errors import ValidationError
from emendo_client.requests.jobs import consistency_fields, erases, left_out_field
from emendo_client.requests.operations import Document, scope_of, with_new_ids
from emendo_config import Keys, Settings, project_limits
from emendo_config.json_codec import compact_json
from emendo_config.queues import BULK, MAINTENANCE
from emendo_config.shards import imported_shard_of, shard_name
from emendo_config.store import scripts
from emendo_config.store.formats import chunk_id, woken_by
from emendo_config.store.pipeline import Command

# A chunk is full at this many bytes of JSON, however few its items.
CHUNK_BYTES = 512 * 1024
# The number of the empty chunk that closes a batch when its caller went away.
_CLOSING = 1_000_000_000
# Chunks accepted in one round trip.
APPEND_CHUNKS = 8
COMPLETE, ABANDONED, UNSEALED = "complete", "abandoned", "none"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The n-th part of a batch: its operations as JSON.

    Attributes:
        first: the place of its first operation in the batch.
        scope: that of a conversation to infer from, which has a chunk of its own: so one scope's chunks stay in order.
        erases: True when no operation needs memory, so that a full Redis accepts it.
    """

    number: int
    first: int
    documents: list[str]
    scope: str = ""
    erases: bool = True

    @property
    def payload(self) -> str:
        """`{"first": …, "operations": […]}`, as `parse_work` reads it."""
        return f'{{"first":{self.first},"operations":[{",".join(self.documents)}]}}'


@dataclass(frozen=True, slots=True)
class Append:
    """Some chunks in a row, accepted in one step.

    Attributes:
        seal: empty while more will come. COMPLETE for the last append, ABANDONED when the caller sends no more.
            UNSEALED for a job that decides itself when it ends.
    """

    chunks: list[Chunk]
    is_first: bool
    seal: str = ""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One batch job, ready to be accepted piece by piece.

    Attributes:
        documents: the operations, lazily; each is checked when it is read.
        fingerprint: of all operations, when an idempotency key was given; they have all been read then.
        left_out: of the caller's messages, for the result; empty while the operations are read as they are sent.
        trace: fields of the records that say to which trace the job belongs.
        chunk_items: for a job that is resumed: it is cut as it was before. Default: as the settings say.
    """

    job_id: str
    kind: str
    project: str
    documents: Iterable[Document]
    queue: str = BULK
    consistency: str = "eventual"
    idempotency_key: str | None = None
    fingerprint: str = ""
    chunk_items: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)

    def resumed(self, job_id: str, chunk_items: int) -> BatchRequest:
        """The same operations for the job that was accepted under this key, to go on where its caller broke off."""
        documents = list(with_new_ids(self.documents, job_id))
        return replace(self, job_id=job_id, documents=documents, chunk_items=chunk_items)

    def appends(self, settings: Settings) -> Iterator[Append]:
        """The steps that accept it, in order.

        Raises:
            ValidationError: there is no item.
        """
        chunks = _chunks(self.documents, self.chunk_items or settings.chunk_items, self.project)
        taken = list(itertools.islice(chunks, APPEND_CHUNKS))
        is_first = self.chunk_items is None
        if not taken:
            raise empty_batch()
        while taken:
            following = list(itertools.islice(chunks, APPEND_CHUNKS))
            yield Append(taken, is_first=is_first, seal="" if following else COMPLETE)
            taken, is_first = following, False

    @staticmethod
    def closing() -> Append:
        """The step that closes a batch job whose caller sends no more items; accepted ones are carried out."""
        return Append([Chunk(_CLOSING, 0, [])], is_first=False, seal=ABANDONED)

    def append_command(self, settings: Settings, keys: Keys, append: Append) -> Command:
        """The command that accepts some of its chunks."""
        shared: dict[str, str | int] = {
            "kind": self.kind,
            "project": self.project,
            **consistency_fields(self.consistency),
            **self.trace,
        }
        job = {**shared, "chunk_items": self.chunk_items or settings.chunk_items, **left_out_field(self.left_out)}
        frees = all(chunk.erases for chunk in append.chunks)
        return (scripts.append.at_limit if frees else scripts.append)(
            job=keys.job(self.job_id),
            jobs=keys.jobs(self.project),
            clock=keys.clock,
            shards=keys.shards,
            accepting=keys.accepting,
            weak_sealed=keys.weak_sealed(self.job_id),
            idempotency=keys.idempotency(self.project, self.idempotency_key) if self.idempotency_key else None,
            open_jobs=None if self.queue == MAINTENANCE else keys.open_jobs(self.project),
            job_id=self.job_id,
            project=self.project,
            # Later parts of an accepted job are never refused, nor is the end of an abandoned batch.
            max_open=0 if append.seal == ABANDONED else settings.project_max_waiting,
            open_ttl=settings.job_ttl,
            is_first=append.is_first,
            seal=append.seal,
            fingerprint=self.fingerprint,
            idempotency_ttl=settings.job_ttl,
            wakeup_ttl_ms=settings.wakeup_ttl_ms,
            full="" if frees else keys.full,
            job_fields=[part for pair in job.items() for part in pair],
            chunk_fields=[part for pair in shared.items() for part in pair],
            windows=project_limits.windows(keys, settings),
            chunks=[self._chunk(settings, keys, chunk) for chunk in append.chunks],
        )

    def _chunk(self, settings: Settings, keys: Keys, chunk: Chunk) -> scripts.Chunk:
        spread = uuid.UUID(self.job_id).int  # so that the first chunks of many small batches do not meet
        lane = project_limits.CHUNKS if self.queue == BULK else ""
        shard = (
            imported_shard_of(chunk.scope, settings)
            if chunk.scope
            else shard_name(self.queue, spread + chunk.number, settings)
        )
        record_id = chunk_id(self.job_id, chunk.number)
        return scripts.Chunk(
            chunk=keys.job(record_id),
            inbox=keys.inbox(shard),
            wakeup=keys.wakeup(shard),
            chunk_id=record_id,
            shard=shard,
            woken_by=woken_by(record_id),
            lane=project_limits.IMPORTED if chunk.scope else lane,
            items=len(chunk.documents),
            payload=chunk.payload,
        )


def empty_batch() -> ValidationError:
    """The error for a batch without items."""
    return ValidationError("items is empty", suggestion="give at least one item")


def _chunks(documents: Iterable[Document], most: int, project: str) -> Iterator[Chunk]:
    number = first = size = 0
    taken: list[str] = []
    scope, frees = "", True
    for document in documents:
        text = compact_json(document)
        infers = document["op"] == "infer"
        if taken and (infers or scope or len(taken) >= most or size + len(text) > CHUNK_BYTES):
            yield Chunk(number, first, taken, scope, frees)
            number, first, taken, size, frees = number + 1, first + len(taken), [], 0, True
        scope = scope_of(project, document) if infers else ""
        frees = frees and erases(document)
        taken.append(text)
        size += len(text)
    if taken:
        yield Chunk(number, first, taken, scope, frees)
