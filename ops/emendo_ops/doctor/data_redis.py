"""The data Redis: its search module, its embedding spaces, persistence and eviction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from emendo_config import Settings
from emendo_config.urls import redact_url
from emendo_ops.doctor.finding import Finding
from emendo_ops.doctor.spaces import check_spaces

# The first version whose scripts may name flags in their first line.
_OLDEST = 7
# The release of each line of RediSearch that closed CVE-2024-51737. Other lines below the last one never did.
_OVERFLOW_CLOSED = {(2, 6): 24, (2, 8): 21, (2, 10): 10}


def check_data_redis(connection: Redis, settings: Settings) -> Iterator[Finding]:
    """Yields findings on the server, its search module, the spaces, persistence and eviction.

    Raises:
        RedisError: the server does not answer, or refuses the user or password.
    """
    info: Any = connection.info()
    version = check_version(redact_url(settings.redis_url), info)
    yield version
    if version.state == "fail":
        return
    try:
        connection.execute_command("FT._LIST")
    except RedisError:
        yield Finding("search", "fail", "the server has no search module", "use Redis 8, or emendo redis")
        return
    yield check_search(info)
    yield from check_spaces(connection, settings)
    yield from _durability(connection, info)


def check_version(address: str, info: Mapping[str, Any]) -> Finding:
    """Whether a Redis can run Emendo's scripts, by its INFO."""
    version = str(info.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < _OLDEST:
        remedy = f"use Redis {_OLDEST} or later (8 has search): an older one refuses Emendo's scripts"
        return Finding("redis", "fail", f"{address}, version {version}, is too old", remedy)
    return Finding("redis", "ok", f"{address}, version {version}")


def check_search(info: Mapping[str, Any]) -> Finding:
    """The search module, by its server's INFO; a warning for one with the overflow of CVE-2024-51737."""
    modules = info.get("modules", [])
    number = next((module.get("ver") for module in modules if module.get("name") == "search"), None)
    if not isinstance(number, int):
        return Finding("search", "ok", "the search module answers")
    line, patch = (number // 10_000, number // 100 % 100), number % 100
    described = f"RediSearch {line[0]}.{line[1]}.{patch}"
    closed = patch >= _OVERFLOW_CLOSED[line] if line in _OVERFLOW_CLOSED else line > max(_OVERFLOW_CLOSED)
    if closed:
        return Finding("search", "ok", described)
    return Finding(
        "search",
        "warn",
        f"{described}: development only. LIMIT and KNN can overflow its memory (CVE-2024-51737)",
        "use Redis 8 on servers; of RediSearch 2.10, 2.10.10 is the first without it",
    )


def _durability(connection: Redis, info: dict[str, Any]) -> Iterator[Finding]:
    appends = bool(info.get("aof_enabled"))
    yield Finding(
        "persistence",
        "ok" if appends else "warn",
        "append-only file on" if appends else "append-only file off",
        "" if appends else "set appendonly yes: without it a restart loses accepted jobs",
    )
    try:
        policy = str(connection.config_get("maxmemory-policy").get("maxmemory-policy"))
    except RedisError:
        yield Finding("eviction", "warn", "the server does not say", "make sure it is noeviction")
        return
    kept = policy == "noeviction"
    yield Finding(
        "eviction",
        "ok" if kept else "fail",
        policy,
        "" if kept else "set maxmemory-policy noeviction: anything else drops memories and jobs",
    )
