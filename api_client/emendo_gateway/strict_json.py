"""Reads bodies as JSON that has one meaning only: no name twice, no NaN, no infinity.

Python's reader takes the last of two values of the same name. Another program before the gateway may take the first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from emendo_client.errors import ValidationError


class StrictRoute(APIRoute):
    """A route whose body is strict JSON; the `route_class` of every router."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler, with another way to read the body."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return handle


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValidationError("an object of the body has a name twice", suggestion="give each name once")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValidationError(
        "the body has NaN or Infinity, which JSON does not know", suggestion="send null, or leave it out"
    )


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValidationError("the body has a number that is too large", suggestion="send it as a text")
    return value
