"""A project's rules for inference, in the control Redis: read and set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.models import ProjectRules
from emendo_client.requests import content
from emendo_config import Keys
from emendo_config.json_codec import compact_json, read_json
from emendo_config.store.pipeline import Command, as_text

# The fields of `emendo:project:<project>`, in the order they are read.
RULES_FIELDS = ("instructions", "categories")


def get(keys: Keys, project: str) -> Exchange[ProjectRules]:
    """The project's rules; empty if none were set."""
    (values,) = yield RoundTrip("control", [_read(keys, project)])
    return parse(values)


def put(keys: Keys, project: str, instructions: str | None, categories: Sequence[str] | None) -> Exchange[ProjectRules]:
    """Sets the arguments that are not None, in one command; the rules afterwards.

    Raises:
        ValidationError: both are None, or one is malformed.
    """
    fields: list[str] = []
    if instructions is not None:
        fields += ("instructions", content.instructions(instructions))
    if categories is not None:
        fields += ("categories", compact_json(content.categories(categories)))
    if not fields:
        raise ValidationError(
            "nothing to set", suggestion="give instructions, categories or both; an empty value removes them"
        )
    _, values = yield RoundTrip("control", [("HSET", keys.project(project), *fields), _read(keys, project)])
    return parse(values)


def parse(values: Sequence[Any]) -> ProjectRules:
    """The values of RULES_FIELDS as ProjectRules; damaged categories are none."""
    instructions, categories = map(as_text, values)
    try:
        return ProjectRules(instructions=instructions, categories=read_json(categories or "[]"))
    except ValueError:
        return ProjectRules(instructions=instructions)


def _read(keys: Keys, project: str) -> Command:
    return ("HMGET", keys.project(project), *RULES_FIELDS)
