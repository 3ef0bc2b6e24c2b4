"""The parts of a request besides its body that native routes share; unknown ones are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from emendo_gateway.callers import Scope
from emendo_gateway.gateway import gateway_of
from emendo_gateway.idempotency import as_text
from emendo_gateway.queries import checked_query

_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)


# By method and path, since FastAPI's routes are no keys of a dictionary.
_known: dict[tuple[str, str], frozenset[str]] = {}


def _known_parameters(scope: Scope) -> frozenset[str]:
    route = scope["route"]
    place = (scope["method"], route.path)
    if place not in _known:
        _known[place] = frozenset(_query_names(route.dependant))
    return _known[place]


def _query_names(dependant: Any) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


async def require_known_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have, and those that are given twice.

    Raises:
        ValidationError
    """
    known = _known_parameters(request.scope)
    checked_query(request, known, lambda: f"this path knows: {', '.join(sorted(known)) or 'none'}")


async def _seconds_to_wait(
    request: Request,
    prefer: Annotated[
        list[str] | None,
        as_text(),
        Header(description="`wait=10`: wait up to that many seconds for the job's result.", examples=["wait=10"]),
    ] = None,
) -> float:
    """Seconds of `Prefer: wait`, at most what the gateway allows; 0 without it. Other preferences are ignored."""
    for value in prefer or ():
        for preference in value.split(","):
            found = _WAIT.fullmatch(preference.partition(";")[0])
            if found:
                return min(float(found[1]), gateway_of(request).own.max_wait)
    return 0.0


Wait = Annotated[float, Depends(_seconds_to_wait)]
