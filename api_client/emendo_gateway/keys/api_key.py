"""The form of an API key, `em_<id>_<secret>`, and what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import NamedTuple

SCOPES = ("read", "write", "admin")
_ID_BYTES, _SECRET_BYTES = 8, 32
_FORM = re.compile(r"em_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{16}")


class GivenKey(NamedTuple):
    """The two parts of a key, as a request has it."""

    id: str
    secret: str


def new_key() -> tuple[str, GivenKey]:
    """A new key: its text, which is shown once, and its parts."""
    given = GivenKey(secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES))
    return f"em_{given.id}_{given.secret}", given


def read_key(text: str) -> GivenKey | None:
    """The parts of a key; None for a text that is none."""
    found = _FORM.fullmatch(text)
    return GivenKey(found[1], found[2]) if found else None


def is_key_id(text: str) -> bool:
    """True for the form of a key's id."""
    return _ID.fullmatch(text) is not None


def digest(secret: str) -> str:
    """The stored hash of a secret. Nobody can guess 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The record of a key. Times are seconds since 1970, by the clock of Redis; 0 for never.

    Attributes:
        digest: of the secret.
        user_id: the only user whose memories the key may touch; empty for all of the project.
        rate: requests in a minute; None for the gateway's own limit, 0 for no limit.
        last_used: to some minutes.
    """

    id: str
    digest: str
    project: str
    scope: str
    user_id: str = ""
    name: str = ""
    rate: int | None = None
    created: float = 0.0
    expires: float = 0.0
    revoked: float = 0.0
    last_used: float = 0.0

    def has_secret(self, secret: str) -> bool:
        """True for the key's own secret; takes the same time for every other."""
        return hmac.compare_digest(self.digest, digest(secret))

    def is_valid(self, now: float) -> bool:
        """True while the key is neither revoked nor expired."""
        return not (0 < self.revoked <= now or 0 < self.expires <= now)

    def state(self, now: float) -> str:
        """`valid`, `revoked` or `expired`."""
        if 0 < self.revoked <= now:
            return "revoked"
        return "valid" if self.is_valid(now) else "expired"
