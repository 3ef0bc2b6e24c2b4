"""A project's rules for inference, kept with the jobs: read and set, each one conversation (see `steps`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_client.models import ProjectRules
from emendo_client.steps import Batch, Steps
from emendo_config import Keys
from emendo_config.compact import compact_json, read_json
from emendo_config.redis_io import Command, as_text

# The fields of `emendo:project:<project>`, in the order they are asked for.
RULES_FIELDS = ("instructions", "categories")


def get(keys: Keys, project: str) -> Steps[ProjectRules]:
    """The project's rules; empty ones when it never had any."""
    (values,) = yield Batch("control", [_read(keys, project)])
    return parse(values)


def put(keys: Keys, project: str, instructions: str | None, categories: Sequence[str] | None) -> Steps[ProjectRules]:
    """Sets what is not None, in one command; the rules after that.

    Raises:
        ValidationError: nothing is given, or something malformed.
    """
    fields: list[str] = []
    if instructions is not None:
        fields += ("instructions", validation.instructions(instructions))
    if categories is not None:
        fields += ("categories", compact_json(validation.categories(categories)))
    if not fields:
        raise ValidationError("nothing to set", suggestion="give instructions, categories or both; empty removes")
    _, values = yield Batch("control", [("HSET", keys.project(project), *fields), _read(keys, project)])
    return parse(values)


def parse(values: Sequence[Any]) -> ProjectRules:
    """The values of RULES_FIELDS."""
    instructions, categories = map(as_text, values)
    return ProjectRules(instructions=instructions, categories=read_json(categories or "[]"))


def _read(keys: Keys, project: str) -> Command:
    return ("HMGET", keys.project(project), *RULES_FIELDS)
