"""Job requests: what a caller asks for, checked and written down once, for both clients.

A request carries a list of operations (a single update is a list of one). Its payload is the JSON a
worker reads back; its fingerprint tells whether two requests under one idempotency key are the same.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emendo_client import operations, validation
from emendo_client.errors import ValidationError
from emendo_client.operations import Document, Messages, new_memory_id
from emendo_config import Keys, Settings
from emendo_config.compact import compact_json, read_json
from emendo_config.queues import INFERENCE, INTERACTIVE
from emendo_config.shards import shard_of

CONSISTENCIES = ("eventual", "strong", "weak")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job, ready to be accepted.

    Attributes:
        routing_id: decides the shard: what must stay in order, one memory's jobs or one scope's inferences, has one.
        payload: `{"operations": [...]}` as JSON.
        shard: where it is worked; default: the memory's.
        begins_migration: it changes all of the store, and is refused while another such job does.
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
    queue: str = INTERACTIVE
    shard: str = ""
    begins_migration: bool = False

    def accept_call(self, settings: Settings, keys: Keys) -> tuple[list[str], list[str | int]]:
        """KEYS and ARGV of `accept.lua` for this request."""
        shard = self.shard or shard_of(self.routing_id, settings, self.queue)
        names = [
            keys.job(self.job_id),
            keys.inbox(shard),
            keys.bell(shard),
            keys.jobs(self.project),
            keys.clock,
            keys.shards,
        ]
        if self.idempotency_key or self.begins_migration:
            names.append(keys.idempotency(self.project, self.idempotency_key) if self.idempotency_key else "")
        if self.begins_migration:
            names.append(keys.migration)
        record: dict[str, str | int] = {
            "kind": self.kind,
            "project": self.project,
            "memory_id": self.memory_id,
            "items": self.items,
            "payload": self.payload,
            **consistency_fields(self.consistency),
        }
        if self.begins_migration:
            # It will have chunks, which count its items; and it takes steps to cancel, even before it has begun.
            record |= {"items": 0, "chunks": 0}
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
        return fingerprint(self.kind, read_json(self.payload)["operations"])


def consistency_fields(consistency: str) -> dict[str, str | int]:
    """What the record says of it."""
    return {} if consistency == "eventual" else {consistency: 1}


def fingerprint(kind: str, documents: list[Document]) -> str:
    """The same for two requests that ask for the same."""
    # An add names its memories after the job id, which differs each time; leave those out.
    documents = [{**each, "memory_id": ""} if each["op"] == "add" else each for each in documents]
    canonical = json.dumps([kind, documents], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class RequestBuilder:
    """Builds checked requests for one project; pure, shared by the sync and async clients."""

    def __init__(self, settings: Settings, project: str) -> None:
        self._settings = settings
        self._project = project

    def add(
        self,
        messages: Messages,
        *,
        user_id: str | None,
        agent_id: str | None,
        run_id: str | None,
        metadata: Mapping[str, Any] | None,
        infer: bool,
        expires_at: datetime | str | None,
        idempotency_key: str | None,
        consistency: str,
        dry_run: bool = False,
    ) -> JobRequest:
        """A conversation to infer from, or one memory for each user or assistant message."""
        given: dict[str, Any] = {
            "user_id": user_id,
            "agent_id": agent_id,
            "run_id": run_id,
            "metadata": metadata,
            "expires_at": expires_at,
        }
        if validation.flag(infer, "infer"):
            if validation.flag(dry_run, "dry_run") and consistency == "weak":
                raise ValidationError("a dry run of a weak job would leave no result", suggestion="drop one of the two")
            document = operations.infer(self._settings, messages, dry_run=dry_run, **given)
            scope = operations.scope_of(self._project, document)
            return self._request("add", [document], idempotency_key, consistency, routing_id=scope, queue=INFERENCE)
        if validation.flag(dry_run, "dry_run"):
            raise ValidationError(
                "dry_run without infer: messages would be stored as they are",
                suggestion="give infer=True, or no dry_run",
            )
        documents = operations.adds(self._settings, messages, **given)
        job_id = str(uuid.uuid4())
        for index, document in enumerate(documents):
            document["memory_id"] = new_memory_id(job_id, index)
        return self._request("add", documents, idempotency_key, consistency, job_id=job_id)

    def update(self, memory_id: str, *, idempotency_key: str | None, consistency: str, **change: Any) -> JobRequest:
        """See `operations.update`."""
        document = operations.update(self._settings, memory_id, **change)
        return self._request("update", [document], idempotency_key, consistency)

    def delete(self, memory_id: str, *, idempotency_key: str | None, consistency: str, **change: Any) -> JobRequest:
        """See `operations.delete`."""
        document = operations.delete(self._settings, memory_id, **change)
        return self._request("delete", [document], idempotency_key, consistency)

    def restore(self, memory_id: str, *, idempotency_key: str | None, consistency: str, **change: Any) -> JobRequest:
        """See `operations.restore`."""
        return self._request("restore", [operations.restore(memory_id, **change)], idempotency_key, consistency)

    def resolve(self, conflict_id: str, *, idempotency_key: str | None, consistency: str, **change: Any) -> JobRequest:
        """See `operations.resolve`."""
        document = operations.resolve(self._settings, conflict_id, **change)
        return self._request("resolve", [document], idempotency_key, consistency)

    def _request(
        self,
        kind: str,
        documents: list[Document],
        idempotency_key: str | None,
        consistency: str,
        *,
        job_id: str = "",
        routing_id: str = "",
        queue: str = INTERACTIVE,
    ) -> JobRequest:
        memory_id = documents[0]["memory_id"]
        return JobRequest(
            job_id=job_id or str(uuid.uuid4()),
            kind=kind,
            project=self._project,
            routing_id=routing_id or memory_id,
            memory_id=memory_id if len(documents) == 1 else "",
            payload=compact_json({"operations": documents}),
            items=len(documents),
            consistency=validation.one_of(consistency, "consistency", CONSISTENCIES),
            idempotency_key=validation.opaque_key(idempotency_key, "idempotency_key"),
            queue=queue,
        )
