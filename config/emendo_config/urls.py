"""What is wrong with a URL from the settings, found out before anything is asked to connect.

No answer holds a piece of the URL: when a password is not percent-encoded, a part of it stands where the port or the
database belongs, and redis-py and kombu would show it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

# kombu takes these options of a Redis broker; those of redis-py (socket_timeout, db) it does not know.
_BROKER_OPTIONS = ("ssl_", "credential_provider")
# What the URL says wins over what the code says, and the code reads answers of one kind only.
_OURS = ("decode_responses", "encoding", "encoding_errors", "protocol")
_BAD_ADDRESS = "its host, port or options cannot be read"
_BAD_DATABASE = "its database is no whole number"
_BAD_TRANSPORT = "its scheme, port or options are none that kombu takes, or what its transport needs is not installed"


def redis_problem(url: str) -> str | None:
    """Why redis-py cannot use the URL; None when it can."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return "it does not begin with redis://, rediss:// or unix://"
    problem = _address_problem(url) or _place_problem(url)
    if problem is None and _raises(_make_connection, url):
        problem = "it has an option that redis-py does not take"
    if problem is None and any(name in _OURS for name, _ in parse_qsl(urlsplit(url).query)):
        problem = f"it has an option that is not yours to set ({', '.join(_OURS)})"
    return problem


def broker_problem(url: str) -> str | None:
    """Why kombu cannot use the URL, or one of several with a `;` between them; None when it can."""
    return next(filter(None, map(_one_broker_problem, url.split(";"))), None)


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

    return int(parse_url(url).get("db", 0))


def broker_beside(redis_url: str, database: int) -> str:
    """The URL of a broker in another database of the same server, with those of the options that kombu takes."""
    parts = urlsplit(redis_url)
    options = [pair for pair in parse_qsl(parts.query) if pair[0].startswith(_BROKER_OPTIONS)]
    netloc = parts.netloc.replace(";", "%3B")  # it would part two URLs
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}", query=urlencode(options, safe="/:")))


def _one_broker_problem(url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    kind, _, way = scheme.lower().partition("+")
    if kind not in {"redis", "rediss"}:
        problem = _BAD_TRANSPORT if _raises(_load_transport, url) else None
        return problem or (_place_problem(url) if kind == "sentinel" else None)
    # Not by kombu: it would remember its own Redis transport, and workers have another one to install.
    if way:
        return redis_problem(f"unix://{rest.replace('virtual_host=', 'db=')}") if way == "socket" else _BAD_TRANSPORT
    return _address_problem(url) or _place_problem(url) or _kombu_problem(url)


def _kombu_problem(url: str) -> str | None:
    """What kombu, other than redis-py, does not take in the URL of a Redis."""
    parts = urlsplit(url)
    if parts.path.strip("/") and parts.path.endswith("/"):
        return _BAD_DATABASE
    known = all(name.startswith(_BROKER_OPTIONS) for name, _ in parse_qsl(parts.query))
    return None if known else "it has an option that kombu does not take"


def _address_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        readable = parts.port != 0 and not parts.fragment
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return _BAD_ADDRESS
    return None if readable else _BAD_ADDRESS


def _place_problem(url: str) -> str | None:
    """What is wrong with the path of an address that can be read: a socket's, or else a database."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    if parts.scheme == "unix":
        return None if path else "it names no socket"
    return None if path.isdecimal() or not path else _BAD_DATABASE


def _raises(use: Callable[[str], object], url: str) -> bool:
    try:
        use(url)
    except Exception:  # noqa: BLE001  # kombu's transports raise whatever a missing library makes them raise
        return True
    return False


def _make_connection(url: str) -> object:
    """What redis-py makes of the URL; not connected yet."""
    from redis import ConnectionPool  # takes its time to import; who asks for Redis needs it anyway

    pool = ConnectionPool.from_url(url)
    return pool.connection_class(**pool.connection_kwargs)


def _load_transport(url: str) -> object:
    from kombu import Connection

    if "://" not in url:  # kombu would take it for the name of an AMQP host
        raise ValueError
    return Connection(url).transport
