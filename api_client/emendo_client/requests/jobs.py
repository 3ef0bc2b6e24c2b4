"""Job requests: the operations of one call as one job, ready to be accepted.

Its payload is the JSON that a worker reads back. Its fingerprint tells whether two requests under one idempotency key
ask for the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_client.requests.operations import Document, Operations, new_job_id, scope_of, with_new_ids
from emendo_client.times import microseconds_of
from emendo_config import Keys, Settings, project_limits
from emendo_config.json_codec import compact_json, read_json
from emendo_config.queues import INFERENCE, INTERACTIVE, MAINTENANCE
from emendo_config.shards import shard_of
from emendo_config.store import scripts
from emendo_config.store.formats import woken_by
from emendo_config.store.pipeline import Command

CONSISTENCIES = ("eventual", "strong", "weak")


@dataclass(slots=True)  # not frozen: each of its 16 fields would then cost a call, and every job makes one
class JobRequest:
    """One job, ready to be accepted.

    Attributes:
        routing_id: decides the shard. Jobs that must stay in order share it: those of one memory, or the inferences
            of one scope.
        payload: `{"operations": [...]}` as JSON.
        shard: of the inbox it goes to; default: the one that `routing_id` gives.
        left_out: of the caller's messages, for the result.
        trace: fields of the record that say to which trace the job belongs.
        begins_migration: True for a job that changes the whole store. It is refused while another one is under way.
        erases: True for a job that only frees memory, which a full Redis accepts, too.
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
    erases: bool = False
    expires_at: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)

    def shard_in(self, settings: Settings) -> str:
        """The shard that works it."""
        return self.shard or shard_of(self.routing_id, settings, self.queue)

    def accept_command(self, settings: Settings, keys: Keys, shard: str) -> Command:
        """The command that accepts it in the shard."""
        record: dict[str, str | int] = {
            "kind": self.kind,
            "project": self.project,
            "memory_id": self.memory_id,
            "items": self.items,
            "payload": self.payload,
            **consistency_fields(self.consistency),
            **left_out_field(self.left_out),
            **self.trace,
        }
        if self.begins_migration:
            # It will have chunks, which count its items; and it takes steps to cancel, even before it has begun.
            record |= {"items": 0, "chunks": 0}
        lane = project_limits.SINGLE if self.queue == INFERENCE else ""
        return (scripts.accept.at_limit if self.erases else scripts.accept)(
            job=keys.job(self.job_id),
            inbox=keys.inbox(shard),
            wakeup=keys.wakeup(shard),
            jobs=keys.jobs(self.project),
            clock=keys.clock,
            shards=keys.shards,
            idempotency=keys.idempotency(self.project, self.idempotency_key) if self.idempotency_key else None,
            migration=keys.migration if self.begins_migration else None,
            job_id=self.job_id,
            shard=shard,
            woken_by=woken_by(self.job_id),  # unique, and it tells which job woke the shard
            wakeup_ttl_ms=settings.wakeup_ttl_ms,
            fingerprint=self._fingerprint() if self.idempotency_key else "",
            idempotency_ttl=settings.job_ttl,
            full="" if self.erases else keys.full,
            project=self.project,
            lane=lane,
            open_jobs="" if self.queue == MAINTENANCE else keys.open_jobs(self.project),
            max_open=settings.project_max_waiting,
            open_ttl=settings.job_ttl,
            expires_at=self.expires_at,
            windows=project_limits.windows(keys, settings) if lane or settings.project_max_waiting else (),
            record=[part for pair in record.items() for part in pair],
        )

    def _fingerprint(self) -> str:
        return fingerprint(self.kind, read_json(self.payload)["operations"])


def erases(document: Document) -> bool:
    """True for an operation that only frees memory, which a full Redis accepts, too."""
    return document["op"] == "delete" and bool(document.get("hard"))


def consistency_fields(consistency: str) -> dict[str, str | int]:
    """The fields of the job's record that say it."""
    return {} if consistency == "eventual" else {consistency: 1}


def left_out_field(left_out: Mapping[str, int]) -> dict[str, str]:
    """The field of the job's record that says what is in none of its operations."""
    return {"left_out": compact_json(dict(left_out))} if left_out else {}


def fingerprint(kind: str, documents: list[Document]) -> str:
    """A digest that is equal for two requests that ask for the same."""
    # The ids of new memories follow from the job id, which differs each time; leave them out.
    documents = [{**each, "memory_id": ""} if each["op"] == "add" else each for each in documents]
    canonical = json.dumps([kind, documents], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _expiry(document: Document) -> int:
    """When the memories of an add expire, in microseconds since 1970; all its operations have the same. 0: never."""
    expires_at = document.get("expires_at")
    return microseconds_of(datetime.fromisoformat(expires_at)) if expires_at else 0


class RequestBuilder:
    """Builds the job requests of one project; pure, shared by both clients."""

    def __init__(self, project: str) -> None:
        self._project = project

    def request(
        self, documents: list[Document], *, idempotency_key: str | None = None, consistency: str = "eventual"
    ) -> JobRequest:
        """The job that carries out the operations of one call, as `OperationBuilder` gives them.

        Raises:
            ValidationError
        """
        left_out = documents.left_out if isinstance(documents, Operations) else {}
        first = documents[0]
        infers = first["op"] == "infer"
        if consistency == "weak" and first.get("dry_run"):
            raise ValidationError("a dry run of a weak job would leave no result", suggestion="drop one of the two")
        job_id = new_job_id()
        documents = list(with_new_ids(documents, job_id))
        return JobRequest(
            job_id=job_id,
            kind="add" if infers else first["op"],
            project=self._project,
            routing_id=scope_of(self._project, first) if infers else first["memory_id"],
            memory_id=first["memory_id"] if len(documents) == 1 else "",
            payload=compact_json({"operations": documents}),
            items=len(documents),
            consistency=validation.one_of(consistency, "consistency", CONSISTENCIES),
            idempotency_key=validation.opaque_key(idempotency_key, "idempotency_key"),
            queue=INFERENCE if infers else INTERACTIVE,
            erases=all(map(erases, documents)),
            expires_at=_expiry(first),
            left_out=left_out,
        )
