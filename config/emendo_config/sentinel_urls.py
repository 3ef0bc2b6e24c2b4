"""URLs of a Redis whose master the sentinels name: `redis+sentinel://host:26379,host2:26379/<master>/0`.

User and password are the master's. `sentinel_username` and `sentinel_password` after the question mark are those of the
sentinels. With `rediss+sentinel://` the connections to the master and to the sentinels use TLS.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

DEFAULT_PORT = 26_379
_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
_LOGIN = ("sentinel_username", "sentinel_password")


class SentinelUrl(NamedTuple):
    """The parts of such a URL.

    Attributes:
        sentinels: host and port of each.
        service: the name under which the sentinels know the master.
        login: `username` and `password` for the sentinels, where they are given.
        master_url: the URL of the master, with `master` for its host.
    """

    sentinels: list[tuple[str, int]]
    service: str
    login: dict[str, str]
    master_url: str

    @property
    def uses_tls(self) -> bool:
        """True when the connections are encrypted."""
        return self.master_url.startswith("rediss://")


def is_sentinel(url: str) -> bool:
    """True when the URL names sentinels."""
    return url.startswith(_SCHEMES)


def read_sentinel_url(url: str) -> SentinelUrl:
    """The parts of the URL.

    Raises:
        ValueError: a host or port cannot be read, or no master is named.
    """
    parts = urlsplit(url)
    userinfo, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or parts.fragment:
        raise ValueError("no master is named")
    options = parse_qsl(parts.query, strict_parsing=bool(parts.query))
    master_options = urlencode([pair for pair in options if pair[0] not in _LOGIN], safe="/:")
    scheme = parts.scheme.partition("+")[0]
    return SentinelUrl(
        [_address(host) for host in hosts.split(",")],
        unquote(service),
        {name.removeprefix("sentinel_"): value for name, value in options if name in _LOGIN},
        f"{scheme}://{userinfo}{at}master/{database}{'?' if master_options else ''}{master_options}",
    )


def with_database(url: str, database: int, kept: tuple[str, ...]) -> str:
    """The URL with another database, and with those of its options whose names begin with one of `kept`."""
    parts = urlsplit(url)
    service = parts.path.strip("/").partition("/")[0]
    options = [pair for pair in parse_qsl(parts.query) if pair[0].startswith((*kept, *_LOGIN))]
    return parts._replace(path=f"/{service}/{database}", query=urlencode(options, safe="/:")).geturl()


def redacted(url: str) -> str:
    """The URL without user, passwords and options.

    Raises:
        ValueError: it cannot be read.
    """
    read = read_sentinel_url(url)
    hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in read.sentinels)
    parts = urlsplit(url)
    return f"{parts.scheme}://{hosts}{parts.path}"


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    if not parts.hostname or parts.port == 0 or parts.path or parts.query:
        raise ValueError("a sentinel has no host")
    return parts.hostname, parts.port or DEFAULT_PORT
