"""Operations as callers ask for them: checked, and written down as the JSON documents that workers read.

Pure, shared by single jobs and batch jobs, by the sync and the async client.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_config import Settings
from emendo_config.compact import compact_json

CONFLICT_MODES = ("last_write_wins", "reject", "merge", "manual")
CHOICES = ("ours", "theirs", "merged")
# Ids of new memories come from the job id, so that a job worked twice names the same memories.
_MEMORY_NAMESPACE = uuid.UUID("6f0a1c5e-6d3f-5a39-9d0e-2f1f6c0c1f5b")
Document = dict[str, Any]
Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def new_memory_id(job_id: str, index: int) -> str:
    """The id of the job's index-th new memory."""
    return str(uuid.uuid5(_MEMORY_NAMESPACE, f"{job_id}:{index}"))


def adds(
    settings: Settings,
    messages: Messages,
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
    run_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expires_at: datetime | str | None = None,
) -> list[Document]:
    """One operation for each user or assistant message, still without memory ids."""
    scope = validation.scope(user_id, agent_id, run_id, required=True)
    kept = validation.metadata(metadata, settings, none_removes=False) or {}
    expiry = validation.expiry(expires_at)
    operations = []
    for message in validation.messages(messages, settings):
        operation: Document = {
            "op": "add",
            "memory_id": "",
            "text": message["content"],
            "role": message["role"],
            "metadata": kept,
            **scope,
        }
        if "name" in message:
            operation["actor_id"] = message["name"]
        if expiry:
            operation["expires_at"] = expiry
        operations.append(operation)
    return operations


def infer(
    settings: Settings,
    messages: Messages,
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
    run_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expires_at: datetime | str | None = None,
    dry_run: bool = False,
) -> Document:
    """A conversation whose facts are to be found, and held against what is known."""
    operation: Document = {
        "op": "infer",
        "memory_id": "",
        "messages": validation.conversation(messages, settings),
        "metadata": validation.metadata(metadata, settings, none_removes=False) or {},
        **validation.scope(user_id, agent_id, run_id, required=True),
    }
    expiry = validation.expiry(expires_at)
    if expiry:
        operation["expires_at"] = expiry
    if validation.flag(dry_run, "dry_run"):
        operation["dry_run"] = True
    return operation


def scope_name(project: str, user_id: str | None, agent_id: str | None, run_id: str | None) -> str:
    """One name for a scope; another scope, or project, has another one."""
    return compact_json([project, user_id, agent_id, run_id])


def scope_of(project: str, document: Document) -> str:
    """The name of the scope that the operation is about."""
    return scope_name(project, document.get("user_id"), document.get("agent_id"), document.get("run_id"))


def update(
    settings: Settings,
    memory_id: str,
    *,
    text: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    actor_id: str | None = None,
    role: str | None = None,
    expected_version: int | None = None,
    on_conflict: str = "last_write_wins",
) -> Document:
    """New text, metadata to merge, or both."""
    if text is None and (metadata is None or metadata == {}):
        raise ValidationError("nothing to update", suggestion="give text, metadata or both")
    operation: Document = {
        "op": "update",
        "memory_id": validation.memory_id(memory_id),
        **author(actor_id, role),
        **_expected(expected_version),
    }
    if text is not None:
        operation["text"] = validation.text(text, "text", settings)
    if metadata is not None:
        operation["metadata"] = validation.metadata(metadata, settings, none_removes=True)
    if validation.one_of(on_conflict, "on_conflict", CONFLICT_MODES) != CONFLICT_MODES[0]:
        operation["on_conflict"] = on_conflict
    return operation


def delete(
    settings: Settings,  # noqa: ARG001  # the batch builders call all of these alike
    memory_id: str,
    *,
    hard: bool = False,
    actor_id: str | None = None,
    expected_version: int | None = None,
) -> Document:
    """Hides the memory; `hard` leaves nothing of its content."""
    operation: Document = {
        "op": "delete",
        "memory_id": validation.memory_id(memory_id),
        **author(actor_id, None),
        **_expected(expected_version),
    }
    if validation.flag(hard, "hard"):
        operation["hard"] = True
    return operation


def restore(memory_id: str, *, version: int | None = None, actor_id: str | None = None) -> Document:
    """Brings a deleted memory back, or any memory back to what it was at `version`."""
    operation: Document = {
        "op": "restore",
        "memory_id": validation.memory_id(memory_id),
        **author(actor_id, None),
    }
    if version is not None:
        operation["version"] = validation.version(version, "version")
    return operation


def resolve(
    settings: Settings,
    conflict_id: str,
    *,
    choice: str,
    text: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    actor_id: str | None = None,
    expected_version: int | None = None,
) -> Document:
    """A person's decision on a waiting conflict."""
    memory_id, mark = validation.conflict_id(conflict_id)
    operation: Document = {
        "op": "resolve",
        "memory_id": memory_id,
        "conflict": mark,
        "choice": validation.one_of(choice, "choice", CHOICES),
        **author(actor_id, None),
        **_expected(expected_version),
    }
    given = text is not None or bool(metadata)
    if given != (choice == "merged"):
        raise ValidationError(
            "text and metadata belong to choice 'merged', and to no other",
            suggestion="give choice='merged' with what the memory shall say, or 'ours' or 'theirs' alone",
        )
    if text is not None:
        operation["text"] = validation.text(text, "text", settings)
    if metadata:
        operation["metadata"] = validation.metadata(metadata, settings, none_removes=True)
    return operation


def author(actor_id: str | None, role: str | None) -> Document:
    """Who asks, as far as the caller says."""
    given = {"actor_id": validation.scope_id(actor_id, "actor_id"), "role": validation.role(role)}
    return {name: value for name, value in given.items() if value is not None}


def _expected(version: int | None) -> Document:
    checked = validation.version(version, "expected_version")
    return {} if checked is None else {"expected_version": checked}
