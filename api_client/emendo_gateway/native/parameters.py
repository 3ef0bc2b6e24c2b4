"""The parts of a request besides its body that native routes share; unknown ones are refused."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from pydantic import BeforeValidator

from emendo_gateway.callers import state_of
from emendo_gateway.gateway import gateway_of
from emendo_gateway.idempotency import as_text
from emendo_gateway.queries import checked_query

# Never more than `kinds` takes for a wait: it would wait in the place of a read.
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE | re.ASCII)


async def require_known_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have, and those that are given twice.

    Raises:
        ValidationError
    """
    known = state_of(request.scope).query_names
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


def _decimal(text: Any) -> Any:
    """Pydantic would also take `1_0`, ` 10` and `1.0`, which no other reader of this query would."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("is no whole number in decimal digits")
    return text


Limit = Annotated[int, BeforeValidator(_decimal), Query(ge=1, le=1_000)]
