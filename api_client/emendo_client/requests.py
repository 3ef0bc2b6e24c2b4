"""Job requests: what a caller asks for, checked and written down once, for both clients.

A request carries a list of operations (a single update is a list of one). Its payload is the JSON a
worker reads back; its fingerprint tells whether two requests under one idempotency key are the same.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_config import Keys, Settings
from emendo_config.keys import shard_of

NO_CHAT_MODEL = "no chat model is configured: messages were stored as they are"
CONFLICT_MODES = ("last_write_wins", "reject")
CONSISTENCIES = ("eventual", "strong", "weak")
# Ids of new memories come from the job id, so that a job worked twice names the same memories.
_MEMORY_NAMESPACE = uuid.UUID("6f0a1c5e-6d3f-5a39-9d0e-2f1f6c0c1f5b")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job, ready to be accepted.

    Attributes:
        routing_id: decides the shard; the memory's id, so that one memory's jobs stay in order.
        payload: `{"operations": [...]}` as JSON.
    """

    job_id: str
    kind: str
    project: str
    routing_id: str
    memory_id: str
    payload: str
    items: int
    consistency: str = "eventual"
    idempotency_key: str | None = None
    degraded_reason: str = ""

    def accept_call(self, settings: Settings, keys: Keys) -> tuple[list[str], list[str | int]]:
        """KEYS and ARGV of `accept.lua` for this request."""
        shard = shard_of(self.routing_id, settings.inbox_shards)
        names = [
            keys.job(self.job_id),
            keys.inbox(shard),
            keys.bell(shard),
            keys.jobs(self.project),
            keys.clock,
            keys.shards,
        ]
        if self.idempotency_key:
            names.append(keys.idempotency(self.project, self.idempotency_key))
        record: dict[str, str | int] = {
            "kind": self.kind,
            "project": self.project,
            "memory_id": self.memory_id,
            "items": self.items,
            "payload": self.payload,
        }
        if self.consistency == "weak":
            record["weak"] = 1
        if self.degraded_reason:
            record["degraded"] = self.degraded_reason
        values: list[str | int] = [
            self.job_id,
            shard,
            self.job_id,  # the ring's id: unique, and it tells who rang
            int(settings.ring_ttl * 1000),
            self._fingerprint() if self.idempotency_key else "",
            settings.job_ttl,
        ]
        for name, value in record.items():
            values += (name, value)
        return names, values

    def _fingerprint(self) -> str:
        # An add's payload names its memories after the job id, which differs each time; leave those out.
        operations = json.loads(self.payload)["operations"]
        if self.kind == "add":
            operations = [{**operation, "memory_id": ""} for operation in operations]
        canonical = json.dumps([self.kind, bool(self.degraded_reason), operations], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def new_memory_id(job_id: str, index: int) -> str:
    """The id of the job's index-th new memory."""
    return str(uuid.uuid5(_MEMORY_NAMESPACE, f"{job_id}:{index}"))


class RequestBuilder:
    """Builds checked requests for one project; pure, shared by the sync and async clients."""

    def __init__(self, settings: Settings, project: str) -> None:
        self._settings = settings
        self._project = project

    def add(
        self,
        messages: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        user_id: str | None,
        agent_id: str | None,
        run_id: str | None,
        metadata: Mapping[str, Any] | None,
        infer: bool,
        expires_at: datetime | str | None,
        idempotency_key: str | None,
        consistency: str,
    ) -> JobRequest:
        """One memory for each user or assistant message."""
        scope = validation.scope(user_id, agent_id, run_id, required=True)
        kept = validation.metadata(metadata, self._settings, none_removes=False) or {}
        expiry = validation.expiry(expires_at)
        job_id = str(uuid.uuid4())
        operations = []
        for index, message in enumerate(validation.messages(messages, self._settings)):
            operation: dict[str, Any] = {
                "op": "add",
                "memory_id": new_memory_id(job_id, index),
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
        return self._request(
            "add",
            job_id,
            operations,
            idempotency_key,
            consistency,
            degraded_reason=NO_CHAT_MODEL if validation.flag(infer, "infer") else "",
        )

    def update(
        self,
        memory_id: str,
        *,
        text: str | None,
        metadata: Mapping[str, Any] | None,
        actor_id: str | None,
        role: str | None,
        expected_version: int | None,
        on_conflict: str,
        idempotency_key: str | None,
        consistency: str,
    ) -> JobRequest:
        """New text, metadata to merge, or both."""
        if text is None and (metadata is None or metadata == {}):
            raise ValidationError("nothing to update", suggestion="give text, metadata or both")
        operation: dict[str, Any] = {
            "op": "update",
            "memory_id": validation.memory_id(memory_id),
            **self._author(actor_id, role),
        }
        if text is not None:
            operation["text"] = validation.text(text, "text", self._settings)
        if metadata is not None:
            operation["metadata"] = validation.metadata(metadata, self._settings, none_removes=True)
        if expected_version is not None:
            operation["expected_version"] = validation.version(expected_version, "expected_version")
        if validation.one_of(on_conflict, "on_conflict", CONFLICT_MODES) != CONFLICT_MODES[0]:
            operation["on_conflict"] = on_conflict
        return self._request("update", str(uuid.uuid4()), [operation], idempotency_key, consistency)

    def delete(
        self,
        memory_id: str,
        *,
        actor_id: str | None,
        expected_version: int | None,
        idempotency_key: str | None,
        consistency: str,
    ) -> JobRequest:
        """Hides the memory; its history stays and `restore` brings it back."""
        operation = {
            "op": "delete",
            "memory_id": validation.memory_id(memory_id),
            **self._author(actor_id, None),
        }
        if expected_version is not None:
            operation["expected_version"] = validation.version(expected_version, "expected_version")
        return self._request("delete", str(uuid.uuid4()), [operation], idempotency_key, consistency)

    def restore(
        self,
        memory_id: str,
        *,
        version: int | None,
        actor_id: str | None,
        idempotency_key: str | None,
        consistency: str,
    ) -> JobRequest:
        """Brings a deleted memory back, or any memory back to what it was at `version`."""
        operation = {
            "op": "restore",
            "memory_id": validation.memory_id(memory_id),
            **self._author(actor_id, None),
        }
        if version is not None:
            operation["version"] = validation.version(version, "version")
        return self._request("restore", str(uuid.uuid4()), [operation], idempotency_key, consistency)

    @staticmethod
    def _author(actor_id: str | None, role: str | None) -> dict[str, Any]:
        author = {"actor_id": validation.scope_id(actor_id, "actor_id"), "role": validation.role(role)}
        return {name: value for name, value in author.items() if value is not None}

    def _request(
        self,
        kind: str,
        job_id: str,
        operations: list[dict[str, Any]],
        idempotency_key: str | None,
        consistency: str,
        *,
        degraded_reason: str = "",
    ) -> JobRequest:
        memory_id = operations[0]["memory_id"]
        return JobRequest(
            job_id=job_id,
            kind=kind,
            project=self._project,
            routing_id=memory_id,
            memory_id=memory_id if len(operations) == 1 else "",
            payload=json.dumps({"operations": operations}, ensure_ascii=False, separators=(",", ":")),
            items=len(operations),
            consistency=validation.one_of(consistency, "consistency", CONSISTENCIES),
            idempotency_key=validation.opaque_key(idempotency_key, "idempotency_key"),
            degraded_reason=degraded_reason,
        )
