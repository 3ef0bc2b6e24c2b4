"""Lets those in who have a key: every path needs one, unless `kinds` names it as open."""

from __future__ import annotations

import math

from emendo_client.errors import PermissionDeniedError, RateLimitError
from emendo_config.error_codes import ErrorCode
from emendo_config.gateway_settings import GatewaySettings
from emendo_config.urls import is_loopback
from emendo_gateway.admission.asgi import App, Receive, Scope, Send, client_address, header_values, server_address
from emendo_gateway.admission.kinds import is_open, is_reading
from emendo_gateway.callers import Caller, RequestState, state_of
from emendo_gateway.keys.authentication import Authenticator
from emendo_gateway.rates import WINDOW, Rates, Used


class Access:
    """Finds the caller, checks its scope, and counts its requests.

    Args:
        project: whom a gateway without keys works for.
    """

    def __init__(
        self, app: App, settings: GatewaySettings, authenticator: Authenticator, rates: Rates, project: str
    ) -> None:
        self._app = app
        self._settings = settings
        self._authenticator = authenticator
        self._rates = rates
        self._anybody = Caller(project, "admin")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and not is_open(scope, self._settings):
            state = state_of(scope)
            caller = state.caller = await self._caller(scope)
            await self._count(caller, state)
            caller.require("read" if is_reading(scope) else "write")
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        if self._settings.auth == "keys":
            return await self._authenticator.caller(header_values(scope, b"authorization"), client_address(scope))
        # The settings refuse another address, but another server may run this application.
        if not is_loopback(server_address(scope)):
            raise PermissionDeniedError(
                "EMENDO_GATEWAY_AUTH=off, and this request came in over another address than loopback",
                error_code=ErrorCode.KEY_SCOPE,
                suggestion="unset EMENDO_GATEWAY_AUTH",
            )
        return self._anybody

    async def _count(self, caller: Caller, state: RequestState) -> None:
        limit = self._settings.requests_per_minute if caller.rate is None else caller.rate
        if not caller.key_id or not limit:
            return
        used = await self._rates.count("requests", caller.key_id, limit)
        state.headers += _fields(limit, used)
        if not used.is_within:
            raise RateLimitError(
                f"the key has made {limit} requests within a minute",
                error_code=ErrorCode.TOO_MANY_REQUESTS,
                retry_after=float(max(1, math.ceil(used.reset))),
                suggestion="wait, or make a key with a higher --rate",
            )


def _fields(limit: int, used: Used) -> list[tuple[bytes, bytes]]:
    """The fields of the draft for rate limits, and the older ones, which mem0's clients read."""
    reset = math.ceil(used.reset)
    return [
        (b"ratelimit-policy", f'"requests";q={limit};w={WINDOW}'.encode()),
        (b"ratelimit", f'"requests";r={used.remaining};t={reset}'.encode()),
        (b"x-ratelimit-limit", str(limit).encode()),
        (b"x-ratelimit-remaining", str(used.remaining).encode()),
        (b"x-ratelimit-reset", str(reset).encode()),
    ]
