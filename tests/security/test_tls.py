"""Certificates and hostnames are checked on every connection; an unverified server hears no byte, so no password."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import redis
from flower.utils.broker import Broker
from kombu import Connection

from emendo_client.providers import http
from emendo_client.testing.ports import LOOPBACK
from emendo_config import ConfigurationError, Settings
from emendo_config.celery_app import create_app
from emendo_config.store.connections import connect, connect_async, connect_listening, connect_listening_async
from tests.support.patience import until
from tests.support.tls import Certificates, TLSProxy

USER, PASSWORD = "tls-test", "hush-hush"
SERVERS = ("right", "foreign", "wrong_name", "expired")

# Server, options after the question mark, and whether a client may speak to it.
CASES = [
    ("right", "ssl_ca_certs={ca}", True),
    ("right", "", False),
    ("right", "ssl_cert_reqs=", False),
    ("foreign", "ssl_ca_certs={ca}", False),
    ("foreign", "ssl_ca_certs={ca}&ssl_cert_reqs=optional", False),
    ("foreign", "ssl_cert_reqs=none", True),
    ("wrong_name", "ssl_ca_certs={ca}", False),
    ("wrong_name", "ssl_ca_certs={ca}&ssl_check_hostname=false", True),
    ("wrong_name", "ssl_ca_certs={ca}&ssl_check_hostname=no", True),
    ("expired", "ssl_ca_certs={ca}", False),
    ("expired", "ssl_ca_certs={ca}&ssl_check_hostname=false", False),
]
# A client that takes any certificate takes a wrong name, too.
FOR_EACH_CLIENT = (CASES[0], ("wrong_name", "ssl_ca_certs={ca}", False))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def servers(emendo_redis, certificates) -> Iterator[SimpleNamespace]:
    """The Redis behind a proxy with each certificate, for a user with a password."""
    with ExitStack() as stack, redis.Redis.from_url(emendo_redis.url) as admin:
        admin.acl_setuser(USER, enabled=True, passwords=[f"+{PASSWORD}"], keys="*", channels="*", categories=["+@all"])
        stack.callback(admin.acl_deluser, USER)
        yield SimpleNamespace(
            **{name: stack.enter_context(TLSProxy(emendo_redis.port, getattr(certificates, name))) for name in SERVERS}
        )


def settings_for(url: str, **more: Any) -> Settings:
    values = {"redis_timeout": 60.0, "broker_timeout": 30.0, "key_prefix": f"test-{uuid.uuid4().hex[:12]}:", **more}
    return Settings(redis_url=url, **values)


def ask(make: Callable[..., Any]) -> Callable[[str], None]:
    def call(url: str) -> None:
        made = make(url, settings_for(url))
        with made:
            made.ping()

    return call


def ask_async(make: Callable[..., Any]) -> Callable[[str], None]:
    def call(url: str) -> None:
        async def ping() -> None:
            async with make(url, settings_for(url)) as made:
                await made.ping()

        asyncio.run(ping())

    return call


def ask_broker(url: str) -> None:
    with create_app(settings_for(url), only_sends=True) as app, app.connection_for_write() as connection:
        connection.default_channel.client.ping()


def ask_either_broker(url: str) -> None:
    broker = url.replace("/0", "/1")
    settings = settings_for("redis://h/0", broker_url=f"{broker}; {broker.replace('rediss', 'REDISS')}")
    with create_app(settings, only_sends=True) as app, app.connection_for_write() as connection:
        connection.switch(app.conf.broker_url.split(";")[1])
        connection.default_channel.client.ping()


def ask_for_workers(url: str) -> None:
    with create_app(settings_for(url), only_sends=True) as app:
        app.control.ping(timeout=0.01)


def ask_for_queues(url: str) -> None:
    """As Flower does for its broker page."""
    with create_app(settings_for(url)) as app, app.connection() as connection:
        conf = app.conf
        shown = Broker(
            connection.as_uri(include_password=True),
            broker_options=conf.broker_transport_options,
            broker_use_ssl=conf.broker_use_ssl,
        )
    asyncio.run(shown.queues(["interactive"]))


CLIENTS = {
    "connect": ask(connect),
    "connect_listening": ask(connect_listening),
    "connect_async": ask_async(connect_async),
    "connect_listening_async": ask_async(connect_listening_async),
    "broker": ask_broker,
    "second broker": ask_either_broker,
    "control": ask_for_workers,
    "flower": ask_for_queues,
}


def each_client_with_each_case() -> Iterator[Any]:
    """One client of each library meets all cases, the others two; the rest is left to the slow tests."""
    for client in CLIENTS:
        for case in CASES:
            quick = case in FOR_EACH_CLIENT or client in {"connect", "broker"}
            yield pytest.param(client, *case, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("client", "server", "options", "allowed"), list(each_client_with_each_case()))
def test_only_a_verified_server_hears_the_password(servers, certificates, client, server, options, allowed):  # noqa: PLR0917
    proxy = getattr(servers, server)
    proxy.heard.clear()
    url = f"rediss://{USER}:{PASSWORD}@{LOOPBACK}:{proxy.port}/0?{options.format(ca=certificates.ca)}".rstrip("?")
    if allowed:
        CLIENTS[client](url)
        assert PASSWORD.encode() in proxy.heard
    else:
        with pytest.raises(Exception, match=r"(?i)certificate verify failed"):
            CLIENTS[client](url)
        assert proxy.heard == b""
    assert proxy.plain == 0


AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


@pytest.mark.parametrize(("server", "options", "allowed"), CASES)
@pytest.mark.parametrize("hosts", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_nor_does_a_rabbitmq(certificates, server, options, allowed, hosts):
    """No RabbitMQ runs here: what a client says first, after the handshake, is the protocol's name."""
    query = options.format(ca=certificates.ca)
    with TLSProxy(1, getattr(certificates, server)) as proxy:
        url = f"amqps://{USER}:{PASSWORD}@{LOOPBACK}:{proxy.port}//?{query}".rstrip("?")
        urls = [f"amqps://{USER}:{PASSWORD}@{LOOPBACK}:1//?{query}".rstrip("?")] * (hosts - 1) + [url]
        app = create_app(settings_for("redis://h/0", broker_url=";".join(urls)), only_sends=True)
        with app, app.connection_for_write() as connection:
            if hosts == 2:
                with pytest.raises(OSError):  # noqa: PT011  # nobody is there
                    connection.transport.establish_connection()
                connection.switch(app.conf.broker_url.split(";")[1])
            with pytest.raises(OSError) as refused:  # noqa: PT011  # both are OSErrors: a bad certificate, and the end
                connection.transport.establish_connection()
        if allowed:
            until(lambda: proxy.heard == AMQP_HEADER, "the client says nothing")
        else:
            assert "certificate verify failed" in str(refused.value)
            assert proxy.heard == b""


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("trust", [True, False])
def test_nor_does_a_provider(openai_server, certificates, monkeypatch, server, trust):
    """Providers have no options: their own CA stands in SSL_CERT_FILE, as for every program with OpenSSL."""
    if trust:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    http._trusted.cache_clear()
    upstream = int(openai_server.base_url.split(":")[2].split("/")[0])
    try:
        with TLSProxy(upstream, getattr(certificates, server)) as proxy:
            asked = http.Server(f"https://{LOOPBACK}:{proxy.port}/v1", "a-key", {}, 5.0)
            with asked.client() as client:
                if server == "right" and trust:
                    assert client.embeddings.create(model="m", input="text").data
                    assert b"a-key" in proxy.heard
                    return
                with pytest.raises(openai.APIConnectionError):
                    client.embeddings.create(model="m", input="text")

            async def ask_too() -> None:
                async with asked.async_client() as client:
                    await client.embeddings.create(model="m", input="text")

            with pytest.raises(openai.APIConnectionError):
                asyncio.run(ask_too())
            assert proxy.encrypted == 2
            assert proxy.heard == b""
    finally:
        http._trusted.cache_clear()


@pytest.mark.parametrize(
    "url",
    [
        "rediss://u:secr@h/1;redis://u:secr@h/1",
        "redis://u:secr@h/1;rediss://u:secr@h/1",
        "amqps://u:secr@h//;amqp://u:secr@h//",
        "rediss://h/1?ssl_ca_certs=secr;rediss://h/1",
        "rediss://h/1?ssl_cert_reqs=none;rediss://h/1",
        "rediss://h/1?ssl_cert_reqs=secr",
        "rediss://h/1?ssl_min_version=secr",
        "rediss://h/1?ssl_secr=1",
        "rediss://h/1?ssl_cert_reqs=required;rediss://h/1?ssl_cert_reqs=secr",
        "amqps://h//?ssl_cert_reqs=secr",
        "amqps://h//?ssl_ca_path=secr",
        "amqps://h//?ssl_min_version=7",
    ],
)
def test_options_that_cannot_be_meant_are_refused(url):
    with pytest.raises(ConfigurationError, match=r"EMENDO_BROKER_URL cannot be used: its .*TLS") as refused:
        Settings(redis_url="redis://h/0", broker_url=url)
    assert "secr" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["REDISS://:p@h/1", "RedisS://:p@h/1; RediSS://:p@other/1", "rediss://:p@h/1?ssl_cert_reqs="]
)
def test_no_spelling_of_the_scheme_leaves_the_check_out(url):
    app = create_app(Settings(redis_url="redis://h/0", broker_url=url))
    with app.connection_for_write() as connection:
        assert isinstance(connection, Connection)
        for each in app.conf.broker_url.split(";"):
            connection.switch(each)
            assert connection.ssl["ssl_cert_reqs"] in {"required", ssl.CERT_REQUIRED}
