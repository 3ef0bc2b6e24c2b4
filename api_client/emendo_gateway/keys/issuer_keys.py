"""The public keys of the tokens' issuer (JWKS), from its URL or a file: kept, and fetched again when needed."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jwt

from emendo_client.errors import NetworkError
from emendo_config.error_codes import ErrorCode

log = logging.getLogger(__name__)
# Seconds. Keys are fetched again when they are older than FRESH, and open nothing when they are older than USABLE.
FRESH, USABLE = 300.0, 3_600.0
# Seconds between two fetches, however many tokens name an unknown key.
INTERVAL = 10.0
TIMEOUT = 5.0  # seconds for a fetch
_LARGEST = 256 << 10  # bytes of a key set
_MOST_KEYS = 100
# Members that a public key has. A private one that was published by mistake is not taken in.
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
# A key is used with the one algorithm of its kind, so no token chooses: never `none`, never a secret.
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_SMALLEST_RSA = 2_048  # bits


class IssuerKeys:
    """The keys by their ids.

    Args:
        place: an address of http or https, or the path of a file.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_at = self._asked_at = -USABLE
        self._has_failed = False
        self._loading: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key with this id; None if the issuer has none.

        Raises:
            NetworkError: (TOKEN_KEYS_UNREACHABLE) the issuer's keys are not known.
        """
        age = time.monotonic() - self._loaded_at
        found = self._keys.get(key_id)
        if found is None or age >= USABLE:
            await self._refresh()
            found = self._keys.get(key_id)
        elif age >= FRESH:
            self._start()  # nobody waits for it: the old keys still open
        is_usable = time.monotonic() - self._loaded_at < USABLE
        # While the issuer does not answer, a key that is not known may be a new one.
        if is_usable and (found is not None or not self._has_failed):
            return found
        raise NetworkError(
            "the keys of the tokens' issuer are not known",
            error_code=ErrorCode.TOKEN_KEYS_UNREACHABLE,
            suggestion="send it again in some seconds",
        )

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    async def _refresh(self) -> None:
        self._start()
        if self._loading is not None:
            await asyncio.shield(self._loading)

    def _start(self) -> None:
        is_running = self._loading is not None and not self._loading.done()
        if not is_running and time.monotonic() - self._asked_at >= INTERVAL:
            self._asked_at = time.monotonic()
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                text = await (self._fetched() if "://" in self._place else asyncio.to_thread(self._read))
            self._keys = _keys_in(text)
            self._loaded_at = time.monotonic()
            self._has_failed = False
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
            self._has_failed = True
            log.warning("the keys of the tokens' issuer cannot be read: %s", type(error).__name__)

    def _read(self) -> bytes:
        with Path(self._place).open("rb") as file:
            return file.read(_LARGEST + 1)

    async def _fetched(self) -> bytes:
        """The answer of the issuer. A redirect is an error: it could lead to an address that was never allowed."""
        parts, size = [], 0
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as http,
            http.stream("GET", self._place, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError
            async for part in answer.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LARGEST:
                    break
        return b"".join(parts)


def _keys_in(text: bytes) -> dict[str, jwt.PyJWK]:
    """The keys that can be used, by their ids.

    Raises:
        ValueError: it is no key set, or has none.
    """
    if len(text) > _LARGEST:
        raise ValueError
    document = json.loads(text)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > _MOST_KEYS:
        raise ValueError
    found = {}
    for member in members:
        key = _key(member)
        if key is not None and key.key_id:
            found[key.key_id] = key
    if not found:
        raise ValueError
    return found


def _key(member: Any) -> jwt.PyJWK | None:
    if not isinstance(member, dict) or not all(isinstance(member.get(name, ""), str) for name in _PUBLIC):
        return None
    public = {name: member[name] for name in _PUBLIC if name in member}
    kind = public.get("kty")
    algorithm = _ALGORITHMS.get((str(kind), None if kind == "RSA" else public.get("crv")))
    if algorithm is None or public.get("alg", algorithm) != algorithm or public.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(public, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if algorithm == "RS256" and key.key.key_size < _SMALLEST_RSA else key
