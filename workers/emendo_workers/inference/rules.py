"""What a project asks of inference, read anew for each job: a change holds for every job that begins after it."""

from __future__ import annotations

from emendo_client.project_rules import RULES_FIELDS, parse
from emendo_workers.inference.types import Rules
from emendo_workers.services import Services


def rules_of(services: Services, project: str) -> Rules:
    """The project's rules; empty ones when it has none.

    Raises:
        RedisError: the control plane failed.
    """
    rules = parse(services.control.hmget(services.keys.project(project), RULES_FIELDS))
    return Rules(rules.instructions, tuple(rules.categories))
