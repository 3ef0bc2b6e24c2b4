"""Finds addresses in the settings whose passwords others can hear, or whose servers nobody verifies."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, urlsplit

from emendo_config import Settings
from emendo_config.sentinel_urls import is_sentinel, read_sentinel_url
from emendo_config.tls import checks_certificate, checks_hostname, tls_options
from emendo_config.urls import is_loopback
from emendo_ops.doctor.finding import Finding

_PLAIN = "its password goes over connections that are not encrypted"
_UNCHECKED = "the server's certificate is not checked, so another one that answers gets the password and the texts"
_ANY_NAME = "the name in the certificate is not checked, so anybody with a certificate may answer"
# The scheme to use in place of a plain one.
_ENCRYPTED = {
    "redis": "rediss://, or rediss+sentinel://",
    "sentinel": "rediss+sentinel://",
    "amqp": "amqps://",
    "pyamqp": "amqps://",
}
_SECRET_OPTIONS = ("password", "sentinel_password", "credential_provider")


def check_connections(settings: Settings) -> Iterator[Finding]:
    """A warning for each address that is not protected. An address of this machine needs no protection."""
    addresses = {"EMENDO_REDIS_URL": settings.redis_url, "EMENDO_CONTROL_URL": settings.control_url}
    if settings.control_url == settings.redis_url:
        del addresses["EMENDO_CONTROL_URL"]
    found = [
        each
        for name, url in {**addresses, "EMENDO_BROKER_URL": settings.broker_url}.items()
        for each in _redis_or_broker(name, url)
    ]
    for name, url, key, headers in (
        ("EMENDO_EMBEDDING", settings.embedding_base_url, settings.embedding_api_key, settings.embedding_headers),
        ("EMENDO_CHAT", settings.chat_base_url, settings.chat_api_key, settings.chat_headers),
    ):
        found += _provider(name, url, has_key=bool(key.get_secret_value() or headers.get_secret_value()))
    yield from found or [Finding("connections", "ok", "no password or key is shown on the way, or to strangers")]


def _redis_or_broker(name: str, given: str) -> Iterator[Finding]:
    if is_sentinel(given):
        read = read_sentinel_url(given)
        secret = bool(read.login) or _has_secret(urlsplit(read.master_url))
        yield from _judge(name, read.master_url, [host for host, _ in read.sentinels], has_secret=secret)
        return
    urls = given.split(";")
    parts = [urlsplit(url) for url in urls if not url.startswith(("unix:", "redis+socket:"))]
    if parts:
        yield from _judge(
            name, urls[0], [each.hostname or "localhost" for each in parts], has_secret=any(map(_has_secret, parts))
        )


def _judge(name: str, url: str, hosts: list[str], *, has_secret: bool) -> Iterator[Finding]:
    options, scheme = tls_options(url), urlsplit(url).scheme
    problem = None
    if not options:
        # Another scheme, such as sqs, encrypts by itself.
        if has_secret and scheme in _ENCRYPTED and not all(map(_is_here, hosts)):
            problem = _PLAIN, f"use {_ENCRYPTED[scheme]}"
    elif not checks_certificate(options):
        problem = _UNCHECKED, "remove ssl_cert_reqs=none; ssl_ca_certs= names a CA of your own"
    elif not checks_hostname(options):
        problem = _ANY_NAME, "remove ssl_check_hostname, and use the name that the certificate has"
    if problem is not None:
        yield Finding("connections", "warn", f"{name}: {problem[0]}", problem[1])


def _provider(name: str, url: str, *, has_key: bool) -> Iterator[Finding]:
    parts = urlsplit(url)
    is_plain = parts.scheme.lower() == "http" and not _is_here(parts.hostname or "")
    if is_plain and (has_key or parts.username or parts.password):
        problem = f"{name}_BASE_URL: its key goes over connections that are not encrypted"
        yield Finding("connections", "warn", problem, "use https://; SSL_CERT_FILE names a CA of your own")


def _has_secret(parts: SplitResult) -> bool:
    return bool(parts.password) or any(name in _SECRET_OPTIONS for name, _ in parse_qsl(parts.query))


def _is_here(host: str) -> bool:
    """True for an address or name of this machine alone; every name below `localhost` is one."""
    return is_loopback(host.rstrip(".")) or host.lower().endswith(".localhost")
