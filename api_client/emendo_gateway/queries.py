"""The check of a query's names that both dialects make: none is unknown, and none is given twice."""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastapi import Request

from emendo_client.errors import ValidationError


def checked_query(request: Request, allowed: Collection[str], knows: Callable[[], str]) -> dict[str, str]:
    """The query's parameters by name.

    Args:
        allowed: the names that it may have.
        knows: says which names there are; called only for an error.

    Raises:
        ValidationError: one is unknown, or given twice.
    """
    if not request.scope["query_string"]:
        return {}
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            raise ValidationError(f"there is no query parameter {name[:100]!r}", suggestion=knows())
        if name in found:
            raise ValidationError(f"the query parameter {name} is given twice", suggestion="give it once")
        found[name] = value
    return found
