"""Search filters. Every value travels as a query parameter, never inside the query text.

So no id or metadata value, whatever characters it holds, can widen a filter: there is nothing to escape
and nothing to forget. The project filter is always added here and cannot be given by the caller.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_client.records import metadata_tag

FILTER_FIELDS = ("user_id", "agent_id", "run_id", "actor_id", "role")
MAX_ALTERNATIVES = 100


class Filter:
    """A filter expression and its parameters, built by `scoped`."""

    def __init__(self) -> None:
        self.clauses: list[str] = []
        self.parameters: list[Any] = []

    def require(self, field: str, *values: str) -> None:
        """The field must be one of the values."""
        names = []
        for value in values:
            name = f"p{len(self.parameters) // 2}"
            names.append(f"${name}")
            self.parameters += (name, value.replace("\\", "\\\\"))
        self.clauses.append(f"@{field}:{{{'|'.join(names)}}}")

    @property
    def clauses_only(self) -> str:
        """The clauses, all of which must hold, whether a memory is deleted or not."""
        return " ".join(self.clauses)

    @property
    def expression(self) -> str:
        """The clauses, all of which must hold, without those that are deleted or expired."""
        now = int(time.time() * 1000)
        return f"({self.clauses_only} @is_deleted:{{0}} -@expires_ms:[-inf {now}])"


def scoped(
    project: str,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    filters: Mapping[str, Any] | None,
    *,
    all_users: bool,
) -> Filter:
    """The filter of one read.

    Args:
        filters: further conditions, all of which must hold: `{"role": "user"}`, `{"metadata": {"topic": "food"}}`;
            a list means any of its values.
        all_users: True to read without a scope.

    Raises:
        ValidationError: no scope and not all_users, or a filter that does not exist.
    """
    validation.flag(all_users, "all_users")
    expression = Filter()
    expression.require("project", project)
    scope = validation.scope(user_id, agent_id, run_id, required=not all_users)
    for name, value in scope.items():
        expression.require(name, value)
    if filters is not None and not isinstance(filters, Mapping):
        raise ValidationError("filters is not a mapping", suggestion='for instance {"metadata": {"topic": "food"}}')
    for name, wanted in (filters or {}).items():
        if name == "metadata":
            _add_metadata(expression, wanted)
        elif name in FILTER_FIELDS:
            checked = [validation.scope_id(value, f"filters[{name!r}]") for value in _alternatives(name, wanted)]
            expression.require(name, *(value for value in checked if value is not None))
        else:
            raise ValidationError(
                "filters has an unknown field", suggestion=f"use {', '.join(FILTER_FIELDS)} or metadata"
            )
    return expression


def _add_metadata(expression: Filter, wanted: Any) -> None:
    if not isinstance(wanted, Mapping):
        raise ValidationError("filters['metadata'] is not a mapping of keys to values")
    for key, value in wanted.items():
        validation.json_value({key: value if not isinstance(value, set | frozenset) else list(value)}, "filters")
        tags = [metadata_tag(key, alternative) for alternative in _alternatives("metadata", value)]
        if None in tags:
            raise ValidationError(
                "filters['metadata'] holds a value that cannot be filtered on",
                suggestion="use strings, numbers and booleans of less than 1,000 characters",
            )
        expression.require("metadata_tags", *(tag for tag in tags if tag is not None))


def _alternatives(name: str, wanted: Any) -> list[Any]:
    values = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    if not values or None in values or len(values) > MAX_ALTERNATIVES:
        raise ValidationError(f"filters[{name!r}] needs 1 to {MAX_ALTERNATIVES} values, none of them None")
    return values
