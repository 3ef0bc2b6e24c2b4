"""mem0's filters in Emendo's grammar, which reads mem0's operators. Only names of fields differ.

`app_id` is a key of the metadata here, and so is a memory's category. A read must name its owners. So a
forgotten filter shows nobody the memories of all users. `{"user_id": "*"}` means all who have an id.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from emendo_client.errors import ValidationError
from emendo_gateway.strict_json import loads

OWNERS = ("user_id", "agent_id", "app_id", "run_id")
APP, CATEGORY = "app_id", "category"
_NAMES = {
    APP: f"metadata.{APP}",
    "categories": f"metadata.{CATEGORY}",
    "expiration_date": "expires_at",
}
_LOGICAL = {"AND": "AND", "OR": "OR", "NOT": "NOT", "$and": "AND", "$or": "OR", "$not": "NOT"}
_KNOWN = (
    *OWNERS,
    *("actor_id", "role", "created_at", "updated_at", "expiration_date", "categories", "metadata"),
)
_DEEPEST = 16
# Of a filter in an address.
_LONGEST, _MOST_BRACKETS = 4_096, 400


def wanted(*parts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The filter that all parts make together.

    Raises:
        ValidationError: a name is unknown, or nobody is named.
    """
    given = [part for part in parts if part]
    if not any(names_owner(part) for part in given):
        raise ValidationError(
            "the filters name no user, agent, app or run",
            suggestion='for instance {"user_id": "ana"}; {"user_id": "*"} means everybody who has an id',
        )
    # Inside AND a "*" stands for any value.
    return {"AND": [translated(part) for part in given]}


def translated(given: Any, depth: int = 1) -> dict[str, Any]:
    """A filter with the names that Emendo has.

    Raises:
        ValidationError: a name is unknown; the message has those that are known.
    """
    if depth > _DEEPEST:
        raise ValidationError("filters is nested too deeply")
    if not isinstance(given, Mapping):
        raise ValidationError("filters has something other than an object", suggestion='such as {"user_id": "ana"}')
    found: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(name, str) and name in _LOGICAL:
            members = value if isinstance(value, list | tuple) else [value]
            found[name] = [each if name.startswith("$") else translated(each, depth + 1) for each in members]
        elif isinstance(name, str) and name in _KNOWN:
            found[_NAMES.get(name, name)] = value
        elif isinstance(name, str) and name.startswith("metadata."):
            found[name] = value
        else:
            raise ValidationError(
                f"filters has an unknown field {str(name)[:100]!r}",
                suggestion=f"use {', '.join((*_KNOWN, 'AND', 'OR', 'NOT'))}; "
                'for a metadata key {"metadata": {key: value}}',
            )
    return found


def names_owner(given: Any, depth: int = 1) -> bool:
    """True when each memory that the filter admits has an owner that the filter names, or any owner for `*`."""
    if depth > _DEEPEST or not isinstance(given, Mapping):
        return False
    for name, value in given.items():
        logical = _LOGICAL.get(name)
        members = value if isinstance(value, list | tuple) else [value]
        if name in OWNERS and _is_positive(value):
            return True
        if logical == "AND" and any(names_owner(each, depth + 1) for each in members):
            return True
        if logical == "OR" and members and all(names_owner(each, depth + 1) for each in members):
            return True
    return False


def _is_positive(value: Any) -> bool:
    """True for a condition that only a memory with the field can meet."""
    if isinstance(value, Mapping):
        names = {str(name).removeprefix("$") for name in value}
        return bool(names & {"eq", "in", "contains", "icontains"}) or value.get("exists") is True
    return value is not None


def owners_in(given: Mapping[str, Any] | None) -> dict[str, str]:
    """The ids in the `filters` of an `add`, which typed options carry there: `{"user_id": …}`, also in a list of AND.

    Raises:
        ValidationError: there is anything else.
    """
    found: dict[str, str] = {}
    for name, value in (given or {}).items():
        if name in ("AND", "$and") and isinstance(value, list):
            for member in value:
                for inner, inner_value in _flat(member).items():
                    _keep(found, inner, inner_value)
        else:
            _keep(found, name, value)
    return found


def _flat(member: Any) -> Mapping[str, Any]:
    if not isinstance(member, Mapping):
        raise ValidationError("filters has something other than an object", suggestion='such as {"user_id": "ana"}')
    return member


def _keep(found: dict[str, str], name: Any, value: Any) -> None:
    if name not in OWNERS:
        raise ValidationError(
            f"filters of an add has {str(name)[:100]!r}", suggestion=f"it holds ids only: {', '.join(OWNERS)}"
        )
    if not isinstance(value, str):
        raise ValidationError(f"filters[{name!r}] is no string", suggestion="an add names one id of each kind")
    require_same(found.get(name), value, name)
    found[name] = value


def require_same(first: str | None, second: str | None, name: str) -> None:
    """Refuses two different ids of one kind.

    Raises:
        ValidationError
    """
    if first is not None and second is not None and first != second:
        raise ValidationError(f"{name} is given twice, with different values", suggestion="give it once")


def from_query(text: str) -> dict[str, Any]:
    """The `filters` of an address: JSON, or as mem0's Python client writes it, the `repr` of a dictionary.

    Raises:
        ValidationError: it is neither, too large, or has a name twice.
    """
    if len(text) > _LONGEST or sum(map(text.count, "([{-+~")) > _MOST_BRACKETS:
        raise ValidationError(f"filters is too long; the limit is {_LONGEST} characters")
    try:
        found = loads(text.encode())
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)  # reads literals, and runs nothing
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise ValidationError("filters is no object", suggestion='send JSON such as {"user_id": "ana"}')
    return found
