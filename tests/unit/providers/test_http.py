"""Clients of providers: each has connections of its own, and all of them the same trusted certificates."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from emendo_client.providers import http


@pytest.fixture
def reads(monkeypatch):
    """How often certificates were read from the disk."""
    made = []

    def create():
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    monkeypatch.setattr(httpx2, "create_ssl_context", create)
    http._trusted.cache_clear()
    yield made
    http._trusted.cache_clear()


async def test_certificates_are_read_once_for_all_clients(reads):
    first, second, another = http.http_client(), http.http_client(), http.async_http_client()
    assert len(reads) == 1
    assert len({id(client) for client in (first, second, another)}) == 3
    first.close()
    assert not second.is_closed
    second.close()
    await another.aclose()


def test_a_server_nobody_vouches_for_is_not_trusted():
    assert http._trusted().verify_mode is ssl.CERT_REQUIRED
    assert http._trusted().check_hostname
