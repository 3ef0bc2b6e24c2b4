"""How a provider's server is reached: HTTP clients with shared certificates, and the clients of one server."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import httpx2
import openai

from emendo_client.providers.bounded_http import AsyncBoundedClient, BoundedClient
from emendo_config.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

# No answer of a chat model needs more.
MOST_BYTES = 4 << 20
# A private OpenAI-compatible server often needs no key, but the client requires one.
_NO_KEY = "none"


class Server:
    """A provider's server, and the openai clients for it. Retrying is left to `emendo_workers.jobs.retry`.

    Args:
        base_url: a query is sent with every request. A user name and a password become HTTP basic authentication; the
            settings refuse them beside a key. Empty: OpenAI itself.
        key: empty where the server needs none.
        headers: sent with every request; they win over the key's.
        timeout: seconds of one request.
        most_bytes: of an answer.
    """

    def __init__(
        self, base_url: str, key: str, headers: Mapping[str, str], timeout: float, most_bytes: int = MOST_BYTES
    ) -> None:
        self._most_bytes = most_bytes
        parts = urlsplit(base_url)
        own = {name.lower(): value for name, value in headers.items()}
        self._has_no_key = bool(headers) and not key and "authorization" not in own
        if "@" in parts.netloc:
            # Left in the URL, it would be logged by the HTTP client.
            pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            own.setdefault("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
            self._has_no_key = False
        self._options: dict[str, Any] = {
            "api_key": key or _NO_KEY,
            "base_url": urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")) or None,
            "timeout": timeout,
            "max_retries": 0,
            "default_headers": own,
            "default_query": dict(parse_qsl(parts.query, keep_blank_values=True)),
        }

    def client(self) -> openai.OpenAI:
        """A new client with connections of its own."""
        hooks = {"request": [_leave_key_out]} if self._has_no_key else None
        return openai.OpenAI(**self._options, http_client=http_client(self._most_bytes, event_hooks=hooks))

    def async_client(self) -> openai.AsyncOpenAI:
        """The asyncio twin of `client`."""

        async def leave_key_out(request: httpx2.Request) -> None:
            _leave_key_out(request)

        hooks = {"request": [leave_key_out]} if self._has_no_key else None
        return openai.AsyncOpenAI(**self._options, http_client=async_http_client(self._most_bytes, event_hooks=hooks))


def http_client(most_bytes: int = MOST_BYTES, **options: Any) -> BoundedClient:
    """An HTTP client with shared certificates; it is closed with the openai client.

    Raises:
        ConfigurationError: a proxy of the environment cannot be used.
    """
    with _without_the_proxy():
        return BoundedClient(most_bytes, verify=_trusted(), **options)


def async_http_client(most_bytes: int = MOST_BYTES, **options: Any) -> AsyncBoundedClient:
    """The asyncio twin of `http_client`."""
    with _without_the_proxy():
        return AsyncBoundedClient(most_bytes, verify=_trusted(), **options)


@contextmanager
def _without_the_proxy() -> Iterator[None]:
    """Says that a proxy cannot be used, and not which one: the library quotes it, and its password with it."""
    try:
        yield
    except (httpx2.InvalidURL, ValueError, ImportError):
        raise ConfigurationError(
            "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used",
            suggestion="write it like http://user:password@host:3128, special characters percent-encoded, or unset it",
        ) from None


def _leave_key_out(request: httpx2.Request) -> None:
    """Removes what stands for a key. A gateway that takes another header would refuse it."""
    request.headers.pop("authorization", None)


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
