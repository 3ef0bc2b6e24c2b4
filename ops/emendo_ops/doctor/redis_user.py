"""The user of Redis: whether it has a password, and the rights of its role."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from emendo_config import Settings
from emendo_config.redis_users import PLANES, ROLES, Names, Plane, missing_rights, rights_of
from emendo_config.sentinel_urls import is_sentinel, read_sentinel_url
from emendo_config.urls import is_loopback, redis_database
from emendo_ops.doctor.finding import Finding

# Missing rules that the finding names.
_MOST_NAMED = 10


def check_user(connection: Redis, settings: Settings) -> Iterator[Finding]:
    """Yields what is wrong with the user of the data Redis, or that nothing is.

    Raises:
        RedisError: Redis does not answer.
    """
    parameters = connection.connection_pool.connection_kwargs
    user = parameters.get("username") or "default"
    if user == "default" and not parameters.get("password") and not _is_here(settings.redis_url):
        yield Finding(
            "redis user",
            "warn",
            "everybody who reaches Redis may do everything: its user default has no password",
            "give each process a user: emendo redis-users",
        )
        return
    role = user if user in ROLES else "operator"
    planes: tuple[Plane, ...] = PLANES if settings.control_url == settings.redis_url else ("data",)
    names = Names.of(settings.key_prefix, _broker_database(settings))
    missing = missing_rights(connection, rights_of(role, names, planes))
    if missing:
        named = ", ".join(missing[:_MOST_NAMED]) + (", …" if len(missing) > _MOST_NAMED else "")
        remedy = "give it the rules that emendo redis-users prints"
        yield Finding("redis user", "warn", f"{user} lacks rights of the role {role}: {named}", remedy)
    else:
        yield Finding("redis user", "ok", f"{user} has the rights of the role {role}")


def _broker_database(settings: Settings) -> int:
    try:
        return redis_database(settings.broker_url)
    except (ValueError, RedisError):  # a broker of another kind
        return 1


def _is_here(url: str) -> bool:
    """True for a unix socket, and for an address that only this machine reaches."""
    hosts: list[str | None]
    if is_sentinel(url):
        hosts = [host for host, _ in read_sentinel_url(url).sentinels]
    elif url.startswith("unix://"):
        return True
    else:
        hosts = [urlsplit(url).hostname]
    return all(host is None or is_loopback(host) for host in hosts)
