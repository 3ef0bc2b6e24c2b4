"""Finds defects of the URLs in the settings before anything connects, and hides secrets of a URL for a log.

No answer holds a piece of the URL. If a password is not percent-encoded, a part of it stands where the port or the
database belongs, and redis-py and kombu would show it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from emendo_config.sentinel_urls import is_sentinel, read_sentinel_url, redacted, with_database
from emendo_config.tls import tls_options, tls_problem

# kombu takes these options of a Redis broker; those of redis-py (socket_timeout, db) it does not know.
_BROKER_OPTIONS = ("ssl_", "credential_provider")
# Options of the URL win over those of the code, and the code reads replies of one kind only.
_OURS = ("decode_responses", "encoding", "encoding_errors", "protocol")
_BAD_ADDRESS = "its host, port or options cannot be read"
_BAD_SENTINELS = "it is not like redis+sentinel://host:26379,host2:26379/name-of-the-master/0"
_BAD_DATABASE = "its database is no whole number"
_BAD_TRANSPORT = "its scheme, port or options are none that kombu takes, or what its transport needs is not installed"
_UNREADABLE = "(unreadable URL)"
_SCHEME = re.compile(r"^[A-Za-z][\w+.-]*(?=://)")


def redis_problem(url: str) -> str | None:
    """Why redis-py cannot use the URL; None when it can."""
    if is_sentinel(url):
        return _sentinel_problem(url)
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return "it does not begin with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://"
    problem = _address_problem(url) or _place_problem(url)
    if problem is None and _raises(_make_connection, url):
        problem = "it has an option that redis-py does not take"
    if problem is None and any(name in _OURS for name, _ in parse_qsl(urlsplit(url).query)):
        problem = f"it has an option that is not yours to set ({', '.join(_OURS)})"
    return problem


def broker_problem(url: str) -> str | None:
    """Why kombu cannot use the URL, or one of several with a `;` between them; None when it can."""
    if is_sentinel(url):
        return _sentinel_problem(url) or _kombu_problem(read_sentinel_url(url).master_url)
    urls = url.split(";")
    problem = next(filter(None, map(_one_broker_problem, urls)), None)
    if problem is None and any(tls_options(each) != tls_options(urls[0]) for each in urls):
        problem = "its hosts differ in TLS or in options of it (ssl_…), and kombu takes them for all or for none"
    return problem


def tidy_broker(url: str) -> str:
    """The URL with schemes in lower case and without spaces around the `;` between several."""
    return ";".join(_SCHEME.sub(lambda found: found[0].lower(), each.strip()) for each in url.split(";"))


def http_problem(url: str) -> str | None:
    """Why a provider cannot be asked at the URL; None when it can."""
    if not url.lower().startswith(("http://", "https://")):
        return "it does not begin with http:// or https://"
    problem = _address_problem(url)
    if problem is None and not (url.isprintable() and urlsplit(url).hostname):
        problem = _BAD_ADDRESS
    return problem


def redis_database(url: str) -> int:
    """The database of a URL without a `redis_problem`; `?db=` wins over the path."""
    from redis.connection import parse_url

    return int(parse_url(read_sentinel_url(url).master_url if is_sentinel(url) else url).get("db", 0))


def broker_beside(redis_url: str, database: int) -> str:
    """The URL of a broker in another database of the same server, with those of the options that kombu takes."""
    if is_sentinel(redis_url):
        return with_database(redis_url, database, _BROKER_OPTIONS)
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return socket_broker(redis_url, database)
    options = [pair for pair in parse_qsl(parts.query) if pair[0].startswith(_BROKER_OPTIONS)]
    netloc = parts.netloc.replace(";", "%3B")  # it would part two URLs
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}", query=urlencode(options, safe="/:")))


def socket_broker(url: str, database: int | None = None) -> str:
    """The URL that kombu takes for a broker at a unix socket.

    Args:
        url: of redis-py: `unix:///run/redis.sock?db=1`.
        database: in place of the URL's.
    """
    parts = urlsplit(url)
    netloc = parts.netloc.replace(";", "%3B")
    path = parts.path.replace(";", "%3B")
    number = redis_database(url) if database is None else database
    return f"redis+socket://{netloc}{path}?virtual_host={number}"


def redact_url(url: str) -> str:
    """Removes user name, password and query from a URL, or from several URLs separated by `;`, for a log.

    An unreadable URL is not shown at all.
    """
    several = re.split(r";\s*(?=[A-Za-z][\w+.-]*://)", url)  # a password may contain a `;` too
    if len(several) > 1:
        return ";".join(map(redact_url, several))
    try:
        if is_sentinel(url):
            return redacted(url)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _UNREADABLE
    host = f"[{host}]" if ":" in host else host
    shown = urlunsplit(parts._replace(netloc=f"{host}:{port}" if port else host, query="", fragment=""))
    return _UNREADABLE if "@" in shown else shown  # part of a user name or password is left


def is_loopback(host: str) -> bool:
    """True for an address or name that only this machine can reach."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _one_broker_problem(url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    kind, _, way = scheme.lower().partition("+")
    if kind == "unix":
        return redis_problem(url) or _unknown_option(url, "db")
    if kind not in {"redis", "rediss"}:
        problem = tls_problem(url) if kind == "amqps" and not _address_problem(url) else None
        problem = problem or (_BAD_TRANSPORT if _raises(_load_transport, url) else None)
        return problem or (_place_problem(url) if kind == "sentinel" else None)
    # Not by kombu: it would remember its own Redis transport, and workers have another one to install.
    if way:
        if (kind, way) != ("redis", "socket"):
            return _BAD_TRANSPORT
        return redis_problem(f"unix://{rest.replace('virtual_host=', 'db=')}") or _unknown_option(url, "virtual_host")
    return _address_problem(url) or _place_problem(url) or _kombu_problem(url) or tls_problem(url)


def _sentinel_problem(url: str) -> str | None:
    try:
        master_url = read_sentinel_url(url).master_url
    except ValueError:
        return _BAD_SENTINELS
    return redis_problem(master_url)


def _kombu_problem(url: str) -> str | None:
    """The option or path in the URL of a Redis that kombu, other than redis-py, refuses."""
    parts = urlsplit(url)
    if parts.path.strip("/") and parts.path.endswith("/"):
        return _BAD_DATABASE
    return _unknown_option(url, *_BROKER_OPTIONS)


def _unknown_option(url: str, *known: str) -> str | None:
    taken = all(name.startswith(known) for name, _ in parse_qsl(urlsplit(url).query))
    return None if taken else "it has an option that kombu does not take"


def _address_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        readable = parts.port != 0 and not parts.fragment
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return _BAD_ADDRESS
    return None if readable else _BAD_ADDRESS


def _place_problem(url: str) -> str | None:
    """The defect of the path of a readable address: a socket's path, or else a database."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    if parts.scheme == "unix":
        if parts.hostname:
            return "the path of its socket does not begin with a /, as in unix:///run/redis.sock"
        return None if path else "it names no socket"
    return None if path.isdecimal() or not path else _BAD_DATABASE


def _raises(use: Callable[[str], object], url: str) -> bool:
    try:
        use(url)
    except Exception:  # noqa: BLE001  # kombu's transports raise whatever a missing library makes them raise
        return True
    return False


def _make_connection(url: str) -> object:
    """The connection that redis-py makes of the URL; it is not connected yet."""
    from redis import ConnectionPool  # takes its time to import; who asks for Redis needs it anyway

    pool = ConnectionPool.from_url(url, driver_info=None)  # else it would read redis-py's metadata
    return pool.connection_class(**pool.connection_kwargs)


def _load_transport(url: str) -> object:
    from kombu import Connection

    if "://" not in url:  # kombu would take it for the name of an AMQP host
        raise ValueError
    return Connection(url).transport
