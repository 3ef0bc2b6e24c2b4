"""Reads the options of TLS in a URL of the settings. Certificates and hostnames are checked unless it says otherwise.

The options after the question mark are those of redis-py, for every library: `ssl_cert_reqs`, `ssl_check_hostname`,
`ssl_ca_certs` and so on. By itself kombu would check neither of a Redis, and no hostname of RabbitMQ.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_PREFIX = "ssl_"
_REDIS, _AMQP = ("redis", "rediss"), "amqps"
# Options of redis-py for which py-amqp has a name of its own.
_FOR_AMQP = {
    "ssl_ca_certs": "ca_certs",
    "ssl_certfile": "certfile",
    "ssl_keyfile": "keyfile",
    "ssl_ciphers": "ciphers",
    "ssl_min_version": "tls_minimum_version",
}
_KNOWN_FOR_AMQP = {*_FOR_AMQP, "ssl_cert_reqs", "ssl_check_hostname"}
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def tls_options(url: str) -> dict[str, Any]:
    """The options of redis-py for the connections to one URL; empty when they are not encrypted.

    Raises:
        ValueError: an option has a value of the wrong form.
    """
    from redis.connection import parse_url

    parts = urlsplit(url)
    if parts.scheme not in {*_REDIS, _AMQP}:
        return {}
    options = urlencode(_pairs(url, wanted=True))
    given = {name: value for name, value in parse_url(f"rediss://h?{options}").items() if name.startswith(_PREFIX)}
    if not given and parts.scheme == "redis":
        return {}
    # kombu's way to write it is CERT_NONE.
    demand = str(given.get("ssl_cert_reqs", "required")).lower().removeprefix("cert_")
    return {**given, "ssl_cert_reqs": demand}


def tls_problem(url: str) -> str | None:
    """Why the options of TLS of a readable URL cannot be used; None when they can, or when there are none."""
    from redis.connection import SSLConnection

    try:
        options = tls_options(url)
        SSLConnection(**options)
        if urlsplit(url).scheme == _AMQP:
            amqp_options(options, [])
    except Exception:  # noqa: BLE001  # redis-py raises TypeError, ValueError and errors of its own
        return f"its options of TLS ({_PREFIX}…) are none that can be used"
    return None


def without_tls_options(url: str) -> str:
    """The URL without its options of TLS, where neither Flower nor py-amqp looks for them."""
    return urlunsplit(urlsplit(url)._replace(query=urlencode(_pairs(url, wanted=False), safe="/:")))


def amqp_options(options: dict[str, Any], hosts: list[str]) -> dict[str, Any]:
    """The same options as py-amqp takes them.

    Args:
        options: of `tls_options`.
        hosts: all that the broker's URLs name.

    Raises:
        ValueError: py-amqp has no such option, or an option has a value that it does not know.
    """
    unknown = options.keys() - _KNOWN_FOR_AMQP
    if unknown or options["ssl_cert_reqs"] not in _CERT_REQS:
        raise ValueError("py-amqp has no such option")
    made = {_FOR_AMQP[name]: value for name, value in options.items() if name in _FOR_AMQP}
    if "tls_minimum_version" in made:
        made["tls_minimum_version"] = ssl.TLSVersion(made["tls_minimum_version"])
    made["cert_reqs"] = _CERT_REQS[options["ssl_cert_reqs"]]
    if not checks_hostname(options):
        return made
    # py-amqp checks a name if it is told one.
    return {**made, "server_hostname": hosts[0]} if len(set(hosts)) == 1 else _OfEachHost(made, server_hostname=None)


def checks_certificate(options: dict[str, Any]) -> bool:
    """True when another server's certificate would be noticed."""
    return bool(options["ssl_cert_reqs"] != "none")


def checks_hostname(options: dict[str, Any]) -> bool:
    """True when the certificate of a server with another name would be noticed."""
    return checks_certificate(options) and bool(options.get("ssl_check_hostname", True))


class _OfEachHost(dict[str, Any]):
    """Options whose `server_hostname` kombu sets for each connection.

    It does so where it reads None, and would otherwise demand the first host's name of all others.
    """

    def __getitem__(self, name: str) -> Any:
        return None if name == "server_hostname" else super().__getitem__(name)


def _pairs(url: str, *, wanted: bool) -> list[tuple[str, str]]:
    return [pair for pair in parse_qsl(urlsplit(url).query) if pair[0].startswith(_PREFIX) is wanted]
