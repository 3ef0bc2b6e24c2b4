"""The result of a dry run: the plan, with the texts as they are and as they would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.records.memories import visible_memory
from emendo_config.store import scripts
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_workers.jobs.operations import Add, Noop, Operation, PendingUpdate, Update, owner_of
from emendo_workers.store import Store


def dry_run_results(store: Store, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """A result item for each planned operation; nothing is changed."""
    replies = scripts.run(
        store.data,
        [("HMGET", store.keys.memory(operation.memory_id), *MEMORY_FIELDS) for operation in operations],
    )
    added = {operation.memory_id: operation.text for operation in operations if isinstance(operation, Add)}
    is_shared = store.settings.inference_shared_scopes
    items = []
    for operation, values in zip(operations, replies, strict=True):
        memory = visible_memory(values, operation.project, store.data_time(), include_deleted=False)
        if memory is not None and not is_shared and owner_of(memory) != owner_of(operation):
            items.append(_of_nobody(operation))  # a plan of an earlier release may name it
            continue
        before = memory.memory if memory is not None else None
        if isinstance(operation, Noop):
            after = before if before is not None else added.get(operation.memory_id)
        else:
            after = operation.text if isinstance(operation, Add | Update | PendingUpdate) else None
        items.append(
            {
                "memory_id": operation.memory_id,
                "event": None,
                "version": memory.version if memory is not None else None,
                "error": None,
                "memory": after,
                "previous_memory": before,
                # Erasing this user finds the texts by it.
                **({"user_id": user} if (user := getattr(operation, "user_id", None)) else {}),
            }
        )
    return items


def _of_nobody(operation: Operation) -> dict[str, Any]:
    """The item of a memory that the conversation's owner does not have: neither of its texts is shown."""
    return {"memory_id": operation.memory_id, "event": None, "version": None, "error": None}
