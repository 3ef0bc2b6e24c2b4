"""Operations: a caller's arguments, checked, as the JSON documents that workers read.

Pure, shared by single jobs, batch jobs and batch writers. `OperationBuilder` declares the parameters of each write. The
fields of a batch item are read off them, and a test holds the client's methods and the batch writer to them.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from emendo_client.errors import ValidationError
from emendo_client.requests import content, validation
from emendo_client.requests.messages import conversation as read_conversation
from emendo_config import Settings
from emendo_config.json_codec import compact_json

CONFLICT_MODES = ("last_write_wins", "reject", "merge", "manual")
CHOICES = ("ours", "theirs", "merged")
# Ids of new memories come from the job id, so that a job worked twice names the same memories.
_MEMORY_NAMESPACE = uuid.UUID("6f0a1c5e-6d3f-5a39-9d0e-2f1f6c0c1f5b").bytes
Document = dict[str, Any]


class Dumpable(Protocol):
    """An object that is a mapping when it is written down, such as a pydantic model."""

    def model_dump(self) -> dict[str, Any]:
        """Its fields."""


Message = Mapping[str, Any] | Dumpable
Messages = str | Message | Sequence[Message]


class Operations(list[Document]):
    """The operations of one write.

    Attributes:
        left_out: how many parts of the caller's messages are in no operation, by kind.
    """

    left_out: Mapping[str, int] = MappingProxyType({})


class OperationBuilder:
    """Builds the operations of one write; each method raises ValidationError for bad input."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def add(
        self,
        messages: Messages,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        infer: bool = True,
        dry_run: bool = False,
        expires_at: datetime | str | None = None,
    ) -> Operations:
        """A conversation to infer from, or without `infer` one `add` for each user or assistant message."""
        infers, is_dry_run = validation.flag(infer, "infer"), validation.flag(dry_run, "dry_run")
        if is_dry_run and not infers:
            raise ValidationError(
                "dry_run without infer: messages would be stored as they are",
                suggestion="give infer=True, or no dry_run",
            )
        shared: Document = {
            "metadata": content.metadata(metadata, self._settings, none_removes=False) or {},
            **validation.scope(user_id, agent_id, run_id, required=True),
        }
        expiry = validation.expiry(expires_at)
        if expiry:
            shared["expires_at"] = expiry
        conversation = read_conversation(messages, self._settings)
        operations = Operations()
        operations.left_out = conversation.left_out
        if infers:
            operations.append({"op": "infer", "memory_id": "", "messages": conversation.messages, **shared})
        else:
            operations += [_add(message, shared) for message in conversation.stored]
        if is_dry_run:
            operations[0]["dry_run"] = True
        return operations

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        actor_id: str | None = None,
        role: str | None = None,
        expected_version: int | None = None,
        on_conflict: str = "last_write_wins",
    ) -> list[Document]:
        """New text, metadata to merge, or both."""
        if text is None and (metadata is None or metadata == {}):
            raise ValidationError("nothing to update", suggestion="give text, metadata or both")
        operation: Document = {
            "op": "update",
            "memory_id": validation.memory_id(memory_id),
            **_author(actor_id, role),
            **_expected(expected_version),
        }
        if text is not None:
            operation["text"] = content.text(text, "text", self._settings)
        if metadata is not None:
            operation["metadata"] = content.metadata(metadata, self._settings, none_removes=True)
        if validation.one_of(on_conflict, "on_conflict", CONFLICT_MODES) != CONFLICT_MODES[0]:
            operation["on_conflict"] = on_conflict
        return [operation]

    def delete(
        self,
        memory_id: str,
        hard: bool = False,  # a positional argument of the public method
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
    ) -> list[Document]:
        """Hides the memory; `hard` leaves nothing of its content."""
        operation: Document = {
            "op": "delete",
            "memory_id": validation.memory_id(memory_id),
            **_author(actor_id, None),
            **_expected(expected_version),
        }
        if validation.flag(hard, "hard"):
            operation["hard"] = True
        return [operation]

    def restore(self, memory_id: str, version: int | None = None, *, actor_id: str | None = None) -> list[Document]:
        """Brings a deleted memory back, or any memory back to what it was at `version`."""
        operation: Document = {
            "op": "restore",
            "memory_id": validation.memory_id(memory_id),
            **_author(actor_id, None),
        }
        if version is not None:
            operation["version"] = validation.version(version, "version")
        return [operation]

    def resolve_conflict(
        self,
        conflict_id: str,
        choice: str,
        *,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        actor_id: str | None = None,
        expected_version: int | None = None,
    ) -> list[Document]:
        """A person's decision on a waiting conflict."""
        memory_id, mark = validation.conflict_id(conflict_id)
        operation: Document = {
            "op": "resolve",
            "memory_id": memory_id,
            "conflict": mark,
            "choice": validation.one_of(choice, "choice", CHOICES),
            **_author(actor_id, None),
            **_expected(expected_version),
        }
        given = text is not None or bool(metadata)
        if given != (choice == "merged"):
            raise ValidationError(
                "text and metadata belong to choice 'merged', and to no other",
                suggestion="give choice='merged' with what the memory shall say, or 'ours' or 'theirs' alone",
            )
        if text is not None:
            operation["text"] = content.text(text, "text", self._settings)
        if metadata:
            operation["metadata"] = content.metadata(metadata, self._settings, none_removes=True)
        return [operation]


def fields_of(build: Callable[..., list[Document]]) -> tuple[str, ...]:
    """The parameters of a method of `OperationBuilder`, in order; the first one is required."""
    return tuple(inspect.signature(build).parameters)[1:]


def new_job_id() -> str:
    """A random UUID of version 4."""
    return _uuid(os.urandom(16), 4)


def new_memory_id(job_id: str, index: int) -> str:
    """The id of the job's index-th new memory, a UUID of version 5."""
    name = _MEMORY_NAMESPACE + f"{job_id}:{index}".encode()
    return _uuid(hashlib.sha1(name, usedforsecurity=False).digest(), 5)


def _uuid(random: bytes, version: int) -> str:
    """A UUID of the first 16 bytes. Python's own class takes four times as long, for each job and each new memory."""
    digits = random.hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def with_new_ids(documents: Iterable[Document], job_id: str) -> Iterator[Document]:
    """The operations of a job; those that add a memory get its id, which follows from the job's."""
    added = itertools.count()
    for document in documents:
        if document["op"] == "add":
            document["memory_id"] = new_memory_id(job_id, next(added))
        yield document


def scope_name(project: str, user_id: str | None, agent_id: str | None, run_id: str | None) -> str:
    """A scope's unique name, across all projects."""
    return compact_json([project, user_id, agent_id, run_id])


def scope_of(project: str, document: Document) -> str:
    """The name of the scope of an operation."""
    return scope_name(project, document.get("user_id"), document.get("agent_id"), document.get("run_id"))


def _add(message: Mapping[str, str], shared: Document) -> Document:
    operation: Document = {
        "op": "add",
        "memory_id": "",
        "text": message["content"],
        "role": message["role"],
        **shared,
    }
    if "name" in message:
        operation["actor_id"] = message["name"]
    return operation


def _author(actor_id: str | None, role: str | None) -> Document:
    given = {"actor_id": validation.scope_id(actor_id, "actor_id"), "role": validation.role(role)}
    return {name: value for name, value in given.items() if value is not None}


def _expected(version: int | None) -> Document:
    checked = validation.version(version, "expected_version")
    return {} if checked is None else {"expected_version": checked}
