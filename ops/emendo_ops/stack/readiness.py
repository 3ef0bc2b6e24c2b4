"""Probes: does a process of the stack answer yet?"""

from __future__ import annotations

import urllib.error
import urllib.request
from http import HTTPStatus

import redis
from redis.exceptions import RedisError

from emendo_config import Keys, Settings
from emendo_config.store.connections import connect

_PROBE_TIMEOUT = 5.0  # seconds; a busy machine takes long for a first answer


def redis_answers(url: str) -> bool:
    """True once the server has loaded its data."""
    connection = redis.Redis.from_url(url, socket_timeout=_PROBE_TIMEOUT, protocol=2)
    try:
        return bool(connection.ping())
    except RedisError:
        return False
    finally:
        connection.close()


def worker_signed_on(settings: Settings) -> bool:
    """True if a worker gave a sign of life within the last lease."""
    connection = connect(settings.control_url, settings)
    try:
        newest = connection.zrange(Keys(settings.key_prefix).workers, -1, -1, withscores=True)
        seconds, _ = connection.time()
        return bool(newest) and float(newest[0][1]) / 1000 > seconds - settings.lease
    except RedisError:
        return False
    finally:
        connection.close()


def http_answers(url: str) -> bool:
    """True for 200, and for 401: Flower asks for its password, so it is there."""
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_TIMEOUT) as answer:  # noqa: S310  # loopback
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.UNAUTHORIZED
    except OSError:
        return False
