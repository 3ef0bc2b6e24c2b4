"""What a dry run answers: the plan, with the texts as they are and as they would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.records import MEMORY_FIELDS, visible_memory
from emendo_workers import scripts
from emendo_workers.operations import Operation
from emendo_workers.services import Services


def proposals(services: Services, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """A result item for each planned operation; nothing is changed."""
    replies = scripts.run(
        services.data,
        [("HMGET", services.keys.memory(operation.memory_id), *MEMORY_FIELDS) for operation in operations],
    )
    added = {operation.memory_id: operation.text for operation in operations if operation.op == "add"}
    items = []
    for operation, values in zip(operations, replies, strict=True):
        memory = visible_memory(values, operation.project, include_deleted=False)
        before = memory.memory if memory is not None else None
        if operation.op == "none":
            after = before if before is not None else added.get(operation.memory_id)
        else:
            after = operation.text
        items.append(
            {
                "memory_id": operation.memory_id,
                "event": None,
                "version": memory.version if memory is not None else None,
                "error": None,
                "memory": after,
                "previous_memory": before,
            }
        )
    return items
