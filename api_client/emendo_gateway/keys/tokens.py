"""Tokens (JWT) of an OpenID Connect provider, in place of keys: claims name the project, the scope and the user."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Any

import jwt

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_config import GatewaySettings
from emendo_gateway.callers import Caller
from emendo_gateway.keys.api_key import SCOPES
from emendo_gateway.keys.issuer_keys import IssuerKeys

LONGEST = 8_192  # characters
_LONGEST_KEY_ID = 256
_PARTS = 3  # head, claims, signature
_REMEMBERED = 5.0  # seconds
_MOST_REMEMBERED = 10_000
_PREFIX = "emendo:"


def looks_like_token(text: str) -> bool:
    """True for a text that has a token's form."""
    return len(text) <= LONGEST and text.count(".") == _PARTS - 1 and text.isascii()


class Tokens:
    """Checks tokens. One that was checked is remembered for 5 seconds.

    Args:
        settings: their `jwt_…` are set.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._keys = IssuerKeys(settings.jwt_jwks)
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def remembered(self, text: str) -> Caller | None:
        """The caller of a token that was checked just now."""
        until, caller = self._known.get(_digest(text), (0.0, None))
        return caller if time.monotonic() < until else None

    async def caller(self, text: str) -> Caller | None:
        """The caller that a token stands for; None if it opens nothing.

        Raises:
            NetworkError: the issuer's keys are not known.
        """
        try:
            key_id = jwt.get_unverified_header(text).get("kid")
            key = await self._keys.find(key_id) if isinstance(key_id, str) and len(key_id) <= _LONGEST_KEY_ID else None
            if key is None:
                return None
            claims = jwt.decode(
                text,
                key.key,
                algorithms=[key.algorithm_name],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                leeway=self._settings.jwt_leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        caller = self._caller(claims)
        if caller is not None:
            left = float(claims["exp"]) + self._settings.jwt_leeway - time.time()
            self._known[_digest(text)] = (time.monotonic() + min(_REMEMBERED, left), caller)
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return caller

    async def close(self) -> None:
        """Ends what is under way."""
        await self._keys.close()

    def _caller(self, claims: dict[str, Any]) -> Caller | None:
        """None unless the claims name a project, a scope, and a user where each token has to."""
        settings = self._settings
        scope = _strongest(claims.get(settings.jwt_scope_claim))
        try:
            project = validation.scope_id(claims.get(settings.jwt_project_claim), "project")
            user = validation.scope_id(claims.get(settings.jwt_user_claim), "user") if settings.jwt_user_claim else None
        except ValidationError:
            return None
        if project is None or scope is None or (settings.jwt_user_claim and user is None):
            return None
        # Requests are counted for each subject of the issuer, whatever token it has just now.
        subject = str(claims.get("sub", ""))
        return Caller(project, scope, user, f"jwt-{hashlib.sha256(f'{project} {subject}'.encode()).hexdigest()[:32]}")


def _strongest(given: Any) -> str | None:
    """The strongest scope in a claim: `emendo:read emendo:write`, as one text or as a list."""
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    found = [scope for scope in SCOPES if f"{_PREFIX}{scope}" in words]
    return found[-1] if found else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
