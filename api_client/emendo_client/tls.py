"""One set of trusted certificates for all clients of providers: reading it is most of what making a client takes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import httpx2
import openai

if TYPE_CHECKING:
    import ssl


def http_client() -> httpx2.Client:
    """What the openai client makes for itself, but for the certificates; closed with the openai client."""
    return openai.DefaultHttpxClient(verify=_trusted())


def async_http_client() -> httpx2.AsyncClient:
    """The asyncio twin of `http_client`."""
    return openai.DefaultAsyncHttpxClient(verify=_trusted())


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
