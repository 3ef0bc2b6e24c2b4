"""The parts of a request besides its body that native routes share; unknown ones are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import WithJsonSchema

from emendo_gateway.callers import Scope, caller_of
from emendo_gateway.gateway import gateway_of
from emendo_gateway.idempotency import idempotency_key as read_key
from emendo_gateway.queries import checked_query

# The usual keys of both forms, for the documentation.
_KEY_FORM = r'^("[\x23-\x5b\x5d-\x7e]{1,256}"|[\x23-\x5b\x5d-\x7e]{1,256})$'
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


def as_text(pattern: str | None = None, **more: Any) -> WithJsonSchema:
    """How a field that is read as a list, to find repeated ones, is documented: as the text that it is."""
    return WithJsonSchema({"type": "string", **({"pattern": pattern} if pattern else {}), **more})


def _idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        list[str] | None,
        as_text(_KEY_FORM),
        Header(
            description="The same key with the same request gives the same job, until the key expires. "
            "It does so after `EMENDO_JOB_TTL` seconds: one day, unless set otherwise. Quoted or bare.",
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> str | None:
    return read_key(idempotency_key, caller_of(request.scope))


def _seconds_to_wait(
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


IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
Wait = Annotated[float, Depends(_seconds_to_wait)]
