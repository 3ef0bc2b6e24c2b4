"""The traces of a newer release in Redis: further fields, and formats that this release does not read."""

from __future__ import annotations

import json
from typing import Any

from emendo_workers.services import Services

# Fields that no release has.
ADDED = {"later": {"a": ["list", 1], "b": None}, "also_later": "text"}
# A format that no release has.
TOO_NEW = 99


def with_more(stored: bytes | str | None, **more: Any) -> str:
    """A stored JSON object with further fields."""
    return json.dumps({**json.loads(stored or "{}"), **(more or ADDED)})


def change_payload(services: Services, record_id: str, *, head: dict[str, Any], operation: dict[str, Any]) -> None:
    """Adds fields to a record's payload, and to each of its operations."""
    record = services.keys.job(record_id)
    payload = json.loads(services.control.hget(record, "payload"))
    payload["operations"] = [{**each, **operation} for each in payload["operations"]]
    services.control.hset(record, "payload", json.dumps({**payload, **head}))


def payload_of(services: Services, record_id: str) -> Any:
    """A record's payload as JSON values."""
    return json.loads(services.control.hget(services.keys.job(record_id), "payload"))


def change_registry(services: Services, **more: Any) -> None:
    """Adds fields to each entry of the registry of spaces."""
    for name, text in services.data.hgetall(services.keys.spaces).items():
        services.data.hset(services.keys.spaces, name, with_more(text, **more))


def change_hash(connection: Any, name: str) -> None:
    """Adds fields to a hash."""
    connection.hset(name, mapping=_texts())


def change_inbox(services: Services, shard: str) -> None:
    """Adds fields to each entry of an inbox that waits."""
    stream = services.keys.inbox(shard)
    for entry_id, fields in services.control.xrange(stream):
        services.control.xadd(stream, {**fields, **_texts()})
        services.control.xdel(stream, entry_id)


def change_history(services: Services, memory_id: str) -> None:
    """Adds fields to each entry of a memory's history."""
    stream = services.keys.history(memory_id)
    entries = services.data.xrange(stream)
    services.data.delete(stream)
    for entry_id, fields in entries:
        services.data.xadd(stream, {**fields, **_texts()}, id=entry_id)


def _texts() -> dict[str, str]:
    return {field: json.dumps(value) for field, value in ADDED.items()}
