"""A project's rules for inference, read for each job: a change applies to every job that begins later."""

from __future__ import annotations

from emendo_client.exchanges.project_rules import RULES_FIELDS, parse
from emendo_workers.inference.types import Rules
from emendo_workers.store import Store


def rules_of(store: Store, project: str) -> Rules:
    """The project's rules; empty ones when it has none.

    Raises:
        RedisError: the control plane failed.
    """
    rules = parse(store.control.hmget(store.keys.project(project), RULES_FIELDS))
    return Rules(rules.instructions, tuple(rules.categories))
