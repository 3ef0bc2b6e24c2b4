"""Batch requests: many operations under one job id, checked and cut into chunks as they are read.

A chunk is what a worker takes at once. Items are read one chunk ahead, so a generator of a million items never
sits in memory. An item that is refused becomes an `invalid` operation: it fails alone, in its place.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emendo_client import operations, validation
from emendo_client.errors import EmendoError, ValidationError
from emendo_client.operations import Document, new_memory_id
from emendo_client.requests import CONSISTENCIES, consistency_fields, fingerprint
from emendo_config import Keys, Settings
from emendo_config.compact import compact_json
from emendo_config.queues import BULK, INFERENCE
from emendo_config.shards import shard_name, shard_of

# A chunk is full at so many bytes of JSON, whatever the number of its items.
CHUNK_BYTES = 512 * 1024
# The number of the empty chunk that closes a batch whose caller went away.
_CLOSING = 1_000_000_000
# Chunks accepted in one round trip.
APPEND_CHUNKS = 8
COMPLETE, ABANDONED, UNSEALED = "complete", "abandoned", "none"
# The fields an item may have; the first one it must have.
UPDATE_FIELDS = ("memory_id", "text", "metadata", "actor_id", "role", "expected_version", "on_conflict")
DELETE_FIELDS = ("memory_id", "hard", "actor_id", "expected_version")
ADD_FIELDS = ("messages", "user_id", "agent_id", "run_id", "metadata", "expires_at")
Builder = Callable[[Mapping[str, Any]], list[Document]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The n-th part of a batch: its items, written down.

    Attributes:
        first: the place of its first operation in the batch.
        scope: of a conversation to infer from, which has a chunk to itself: chunks of one scope stay in order.
    """

    number: int
    first: int
    documents: list[str]
    scope: str = ""

    @property
    def payload(self) -> str:
        """`{"first": …, "operations": […]}`, as `parse_work` reads it."""
        return f'{{"first":{self.first},"operations":[{",".join(self.documents)}]}}'


@dataclass(frozen=True, slots=True)
class Append:
    """Some chunks in a row, accepted in one step.

    Attributes:
        seal: empty while more will come; COMPLETE for the last call, ABANDONED when its caller sends no more, UNSEALED
            for a job that ends by its own word.
    """

    chunks: list[Chunk]
    is_first: bool
    seal: str = ""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One batch job, ready to be accepted piece by piece.

    Attributes:
        documents: the operations, lazily; each is checked when it is read.
        fingerprint: of the whole, when an idempotency key was given (all items were read then).
        chunk_items: of a job that is resumed, which must be cut as it was begun; default: the settings'.
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

    def resumed(self, job_id: str, chunk_items: int) -> BatchRequest:
        """The same items as the job that was accepted under the same key, to go on where its caller broke off."""
        documents = list(_with_ids(self.documents, job_id))
        return replace(self, job_id=job_id, documents=documents, chunk_items=chunk_items)

    def appends(self, settings: Settings) -> Iterator[Append]:
        """The calls that accept it, in order.

        Raises:
            ValidationError: there is not a single item.
        """
        chunks = _chunks(self.documents, self.chunk_items or settings.chunk_items, self.project)
        taken = list(itertools.islice(chunks, APPEND_CHUNKS))
        is_first = self.chunk_items is None
        if not taken:
            raise _empty()
        while taken:
            following = list(itertools.islice(chunks, APPEND_CHUNKS))
            yield Append(taken, is_first=is_first, seal="" if following else COMPLETE)
            taken, is_first = following, False

    @staticmethod
    def closing() -> Append:
        """The call that closes a batch job whose caller sends no more items; what was accepted is carried out."""
        return Append([Chunk(_CLOSING, 0, [])], is_first=False, seal=ABANDONED)

    def call(self, settings: Settings, keys: Keys, append: Append) -> tuple[list[str], list[str | int]]:
        """KEYS and ARGV of `append.lua`."""
        names = [keys.job(self.job_id), keys.jobs(self.project), keys.clock, keys.shards, keys.accepting]
        names.append(keys.idempotency(self.project, self.idempotency_key) if self.idempotency_key else "")
        shared: dict[str, str | int] = {
            "kind": self.kind,
            "project": self.project,
            **consistency_fields(self.consistency),
        }
        job = {**shared, "chunk_items": self.chunk_items or settings.chunk_items}
        values: list[str | int] = [
            self.job_id,
            int(append.is_first),
            append.seal,
            self.fingerprint,
            settings.job_ttl,
            int(settings.ring_ttl * 1000),
        ]
        for fields in (job, shared):
            values.append(2 * len(fields))
            for name, value in fields.items():
                values += (name, value)
        spread = uuid.UUID(self.job_id).int  # so that the first chunks of many small batches do not meet
        for chunk in append.chunks:
            shard = (
                shard_of(chunk.scope, settings, INFERENCE)
                if chunk.scope
                else shard_name(self.queue, spread + chunk.number, settings)
            )
            record_id = f"{self.job_id}:{chunk.number}"
            names += (keys.job(record_id), keys.inbox(shard), keys.bell(shard))
            values += (record_id, shard, len(chunk.documents), chunk.payload)
        return names, values


class BatchBuilder:
    """Builds batch requests for one project; shared by the sync and async clients."""

    def __init__(self, settings: Settings, project: str) -> None:
        self._settings = settings
        self._project = project

    def update(self, items: Iterable[Mapping[str, Any]], *, on_conflict: str, **options: Any) -> BatchRequest:
        """Items have UPDATE_FIELDS."""
        validation.one_of(on_conflict, "on_conflict", operations.CONFLICT_MODES)

        def build(item: Mapping[str, Any]) -> list[Document]:
            return [operations.update(self._settings, **{"on_conflict": on_conflict, **_named(item, UPDATE_FIELDS)})]

        return self._request("batch_update", items, build, **options)

    def delete(self, items: Iterable[Mapping[str, Any]], *, hard: bool, **options: Any) -> BatchRequest:
        """Items have DELETE_FIELDS."""
        validation.flag(hard, "hard")

        def build(item: Mapping[str, Any]) -> list[Document]:
            return [operations.delete(self._settings, **{"hard": hard, **_named(item, DELETE_FIELDS)})]

        return self._request("batch_delete", items, build, **options)

    def add(self, items: Iterable[Mapping[str, Any]], *, infer: bool, **options: Any) -> BatchRequest:
        """Items have ADD_FIELDS."""
        validation.flag(infer, "infer")

        def build(item: Mapping[str, Any]) -> list[Document]:
            given = _named(item, ADD_FIELDS)
            return [operations.infer(self._settings, **given)] if infer else operations.adds(self._settings, **given)

        return self._request("batch_add", items, build, **options)

    def documents(self, kind: str, documents: Iterable[Document], queue: str) -> BatchRequest:
        """Operations that were checked already; adds get their memory ids here. Of a list it may be sent again."""
        job_id = str(uuid.uuid4())
        named = _with_ids(documents, job_id)
        whole = list(named) if isinstance(documents, Sequence) else named
        return BatchRequest(job_id, kind, self._project, whole, queue)

    def _request(
        self,
        kind: str,
        items: Iterable[Mapping[str, Any]],
        build: Builder,
        *,
        idempotency_key: str | None,
        consistency: str,
    ) -> BatchRequest:
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ValidationError(
                f"items is of type {type(items).__name__}; it must be a list or another iterable of mappings"
            )
        job_id = str(uuid.uuid4())
        documents: Iterable[Document] = _with_ids(_checked(items, build), job_id)
        key = validation.opaque_key(idempotency_key, "idempotency_key")
        consistency = validation.one_of(consistency, "consistency", CONSISTENCIES)
        whole = ""
        if key or isinstance(items, Sequence):
            # A list is in memory anyway; so what is wrong with all of it is said before anything is accepted.
            documents = _some_valid(list(documents))
            whole = fingerprint(kind, documents) if key else ""
        return BatchRequest(
            job_id,
            kind,
            self._project,
            documents,
            consistency=consistency,
            idempotency_key=key,
            fingerprint=whole,
        )


def _checked(items: Iterable[Mapping[str, Any]], build: Builder) -> Iterator[Document]:
    for item in items:
        try:
            if not isinstance(item, Mapping):
                raise ValidationError(f"the item is of type {type(item).__name__}; it must be a mapping")
            documents = build(item)
        except EmendoError as error:
            yield {"op": "invalid", "memory_id": _id_given(item), "error": error.to_dict()}
            continue
        yield from documents


def _with_ids(documents: Iterable[Document], job_id: str) -> Iterator[Document]:
    """The documents; those that make memories name them after the job."""
    added = itertools.count()
    for document in documents:
        if document["op"] == "add":
            document["memory_id"] = new_memory_id(job_id, next(added))
        yield document


def _named(item: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The item as keyword arguments; its names are checked here, since a TypeError would not say what is allowed."""
    unknown = sorted(ascii(name) for name in item if name not in fields)
    if unknown:
        raise ValidationError(
            f"the item has unknown fields: {', '.join(unknown)}", suggestion=f"use {', '.join(fields)}"
        )
    if fields[0] not in item:
        raise ValidationError(f"{fields[0]} is missing")
    return dict(item)


def _id_given(item: Any) -> str:
    """The memory id of a refused item, when it has one that can be shown."""
    try:
        return validation.memory_id(item["memory_id"])
    except (EmendoError, KeyError, TypeError):
        return ""


def _some_valid(documents: list[Document]) -> list[Document]:
    if not documents:
        raise _empty()
    if all(document["op"] == "invalid" for document in documents):
        first = documents[0]["error"]
        raise ValidationError(
            f"every item is refused; the first one: {first['message']}",
            details={"items": len(documents)},
            suggestion=first.get("suggestion"),
        )
    return documents


def _empty() -> ValidationError:
    return ValidationError("items is empty", suggestion="give at least one item")


def _chunks(documents: Iterable[Document], most: int, project: str) -> Iterator[Chunk]:
    number = first = size = 0
    taken: list[str] = []
    scope = ""
    for document in documents:
        text = compact_json(document)
        infers = document["op"] == "infer"
        if taken and (infers or scope or len(taken) >= most or size + len(text) > CHUNK_BYTES):
            yield Chunk(number, first, taken, scope)
            number, first, taken, size = number + 1, first + len(taken), [], 0
        scope = operations.scope_of(project, document) if infers else ""
        taken.append(text)
        size += len(text)
    if taken:
        yield Chunk(number, first, taken, scope)
