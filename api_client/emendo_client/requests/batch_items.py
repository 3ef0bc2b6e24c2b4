"""From a caller's batch items to a batch request: each item is checked when it is read.

An item that is refused becomes an `invalid` operation: it fails alone, in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from emendo_client.errors import EmendoError, ValidationError
from emendo_client.requests import validation
from emendo_client.requests.batches import BatchRequest, empty_batch
from emendo_client.requests.jobs import CONSISTENCIES, fingerprint
from emendo_client.requests.operations import (
    CONFLICT_MODES,
    Document,
    OperationBuilder,
    Operations,
    fields_of,
    new_job_id,
    with_new_ids,
)
from emendo_config import Settings

# The fields an item may have; the first one it must have.
UPDATE_FIELDS = fields_of(OperationBuilder.update)
DELETE_FIELDS = fields_of(OperationBuilder.delete)
ADD_FIELDS = tuple(name for name in fields_of(OperationBuilder.add) if name not in ("infer", "dry_run"))
_BUILDERS = {"add": ADD_FIELDS, "update": UPDATE_FIELDS, "delete": DELETE_FIELDS}
Item = Mapping[str, Any]
Build = Callable[[Item], list[Document]]


class BatchBuilder:
    """Builds the batch requests of one project; pure, shared by both clients."""

    def __init__(self, settings: Settings, project: str) -> None:
        self._project = project
        self._operations = OperationBuilder(settings)

    def update(
        self, items: Iterable[Item], *, on_conflict: str, idempotency_key: str | None, consistency: str
    ) -> BatchRequest:
        """Items have UPDATE_FIELDS; `on_conflict` is for those that do not say."""
        validation.one_of(on_conflict, "on_conflict", CONFLICT_MODES)

        def build(item: Item) -> list[Document]:
            return self._operations.update(**{"on_conflict": on_conflict, **_arguments(item, UPDATE_FIELDS)})

        return self._request("batch_update", items, build, idempotency_key, consistency)

    def delete(
        self, items: Iterable[Item], *, hard: bool, idempotency_key: str | None, consistency: str
    ) -> BatchRequest:
        """Items have DELETE_FIELDS; `hard` is for those that do not say."""
        validation.flag(hard, "hard")

        def build(item: Item) -> list[Document]:
            return self._operations.delete(**{"hard": hard, **_arguments(item, DELETE_FIELDS)})

        return self._request("batch_delete", items, build, idempotency_key, consistency)

    def add(self, items: Iterable[Item], *, infer: bool, idempotency_key: str | None, consistency: str) -> BatchRequest:
        """Items have ADD_FIELDS."""
        validation.flag(infer, "infer")

        def build(item: Item) -> list[Document]:
            return self._operations.add(**_arguments(item, ADD_FIELDS), infer=infer)

        return self._request("batch_add", items, build, idempotency_key, consistency)

    def mixed(
        self,
        items: Iterable[Item],
        *,
        admit: Callable[[Item], Item],
        infer: bool,
        idempotency_key: str | None,
        consistency: str,
    ) -> BatchRequest:
        """Items have `op` (`add`, `update` or `delete`) and that operation's fields; the gateway's batches.

        Args:
            admit: the item as it is to be taken. It raises an EmendoError for one that is refused.
            infer: for the adds.
        """
        validation.flag(infer, "infer")

        def build(item: Item) -> list[Document]:
            fields = dict(admit(item))
            op = validation.one_of(fields.pop("op", None), "op", tuple(_BUILDERS))
            arguments = _arguments(fields, _BUILDERS[op])
            if op == "add":
                return self._operations.add(**arguments, infer=infer)
            return self._operations.update(**arguments) if op == "update" else self._operations.delete(**arguments)

        return self._request("batch", items, build, idempotency_key, consistency)

    def documents(self, kind: str, documents: Iterable[Document], queue: str) -> BatchRequest:
        """Operations that were checked already. If they are a list, the request may be sent again."""
        job_id = new_job_id()
        named = with_new_ids(documents, job_id)
        whole = list(named) if isinstance(documents, Sequence) else named
        return BatchRequest(job_id, kind, self._project, whole, queue)

    def _request(
        self, kind: str, items: Iterable[Item], build: Build, idempotency_key: str | None, consistency: str
    ) -> BatchRequest:
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ValidationError(
                f"items is of type {type(items).__name__}; it must be a list or another iterable of mappings"
            )
        job_id = new_job_id()
        left_out: Counter[str] = Counter()
        documents: Iterable[Document] = with_new_ids(_operations(items, build, left_out), job_id)
        key = validation.opaque_key(idempotency_key, "idempotency_key")
        consistency = validation.one_of(consistency, "consistency", CONSISTENCIES)
        whole = ""
        if key or isinstance(items, Sequence):
            # A list is in memory anyway. So a list whose items are all wrong is refused before anything is accepted.
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
            left_out=left_out if isinstance(documents, list) else {},
        )


def _operations(items: Iterable[Item], build: Build, left_out: Counter[str]) -> Iterator[Document]:
    """The items' operations. Parts that are in none of them are counted in `left_out`."""
    for item in items:
        try:
            if not isinstance(item, Mapping):
                raise ValidationError(f"the item is of type {type(item).__name__}; it must be a mapping")
            documents = build(item)
        except EmendoError as error:
            yield {"op": "invalid", "memory_id": _memory_id(item), "error": error.to_dict()}
            continue
        if isinstance(documents, Operations):
            left_out.update(documents.left_out)
        yield from documents


def _arguments(item: Item, fields: tuple[str, ...]) -> dict[str, Any]:
    """The item as keyword arguments. Its names are checked here: a TypeError would not say which are allowed."""
    unknown = sorted(ascii(name) for name in item if name not in fields)
    if unknown:
        raise ValidationError(
            f"the item has unknown fields: {', '.join(unknown)}", suggestion=f"use {', '.join(fields)}"
        )
    if fields[0] not in item:
        raise ValidationError(f"{fields[0]} is missing")
    return dict(item)


def _memory_id(item: Any) -> str:
    """The memory id of a refused item, or nothing when that is wrong too."""
    try:
        return validation.memory_id(item["memory_id"])
    except (EmendoError, KeyError, TypeError):
        return ""


def _some_valid(documents: list[Document]) -> list[Document]:
    if not documents:
        raise empty_batch()
    if all(document["op"] == "invalid" for document in documents):
        first = documents[0]["error"]
        raise ValidationError(
            f"every item is refused; the first one: {first['message']}",
            details={"items": len(documents)},
            suggestion=first.get("suggestion"),
        )
    return documents
