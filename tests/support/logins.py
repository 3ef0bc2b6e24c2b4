"""URLs of a server with another login."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def with_login(url: str, login: str) -> str:
    """The URL with `user:password` in place of its own login; an empty one leaves it without."""
    parts = urlsplit(url)
    at = f"{login}@" if login else ""
    return urlunsplit(parts._replace(netloc=f"{at}{parts.hostname}:{parts.port}"))
