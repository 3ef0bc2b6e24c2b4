"""The Redis of EMENDO_REDIS_URL, for machines that have no server of their own: demo, benchmark and tests borrow it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.redis_servers import find_server
from emendo_config.errors import ConfigurationError
from emendo_config.settings import Settings
from emendo_config.store.connections import connect

# Of the data and of the broker beside it.
_DATABASES = (0, 1)
_PAGE = 1_000
_PATIENCE = 60.0  # seconds; a scan of a large Redis takes long


class GivenRedis(EmbeddedRedis):
    """A Redis of somebody else's, which is neither started nor stopped, with keys of one prefix on it.

    Args:
        url: where it is.
        prefix: of the borrower's keys and indexes, and of nothing else there.
        keep: leave them behind at the end.
    """

    def __init__(self, url: str, prefix: str, *, keep: bool = False) -> None:
        super().__init__("unused")
        self._url = url
        self.prefix = prefix
        self._keep = keep

    @property
    def url(self) -> str:
        """As it was given."""
        return self._url

    def start(self) -> None:
        """Checks that it answers and has search.

        Raises:
            ConfigurationError: it does not; the suggestion says what to do.
        """
        require_search(self._url)

    def stop(self) -> None:
        """Removes what has the prefix."""
        if not self._keep:
            self.remove()

    kill = stop

    def remove(self) -> None:
        """Removes all keys and indexes with the prefix, and touches no others."""
        for database in _DATABASES:
            with _database(self._url, database) as connection:
                if database == 0:
                    for index in connection.execute_command("FT._LIST"):
                        if index.decode(errors="replace").startswith(self.prefix):
                            connection.execute_command("FT.DROPINDEX", index)
                found = list(connection.scan_iter(match=f"{self.prefix}*", count=_PAGE))
                for first in range(0, len(found), _PAGE):
                    connection.unlink(*found[first : first + _PAGE])


def given_url() -> str:
    """EMENDO_REDIS_URL where this machine has no server of its own to start; else empty.

    Raises:
        ConfigurationError: neither is there; see `find_server`.
    """
    try:
        find_server()
    except ConfigurationError:
        url = os.environ.get("EMENDO_REDIS_URL", "").strip()
        if not url:
            raise
        return url
    return ""


def redis_for(directory: Path, purpose: str, *, keep: bool = False) -> EmbeddedRedis:
    """A Redis with search, not started yet: one of this machine's, else the one of EMENDO_REDIS_URL.

    Args:
        directory: of the data, if it is started here.
        purpose: the beginning of the prefix, such as `demo`, if it is not.
        keep: leave the keys behind, if it is not.

    Raises:
        ConfigurationError: see `given_url`.
    """
    url = given_url()
    return GivenRedis(url, f"{purpose}-{secrets.token_hex(6)}:", keep=keep) if url else EmbeddedRedis(directory)


def require_search(url: str, *, otherwise: str = "") -> None:
    """Asks the Redis of EMENDO_REDIS_URL once, before any process is started that would ask it again and again.

    Args:
        url: where it is.
        otherwise: a way out that needs no other Redis, for the suggestion.

    Raises:
        ConfigurationError: it does not answer, refuses the user or password, or has no search module.
    """
    try:
        with _database(url, 0) as connection:
            connection.execute_command("FT._LIST")
    except AuthenticationError:
        raise _refusal("and the Redis there refuses its user or password", "correct them", otherwise) from None
    except NoPermissionError:  # it is there; what its user may do shows later
        return
    except redis.BusyLoadingError:  # workers wait for it
        return
    except ResponseError as error:
        if "unknown command" not in str(error).lower():
            return
        raise _refusal(
            "and the Redis there has no search module", "use Redis 8 or Redis Stack, which have it", otherwise
        ) from None
    except RedisError:
        raise _refusal("and nothing answers there", "start that one", otherwise) from None


def _refusal(problem: str, remedy: str, otherwise: str) -> ConfigurationError:
    return ConfigurationError(
        f"EMENDO_REDIS_URL is set, {problem}", suggestion=f"{otherwise}, or {remedy}" if otherwise else remedy
    )


@contextmanager
def _database(url: str, number: int) -> Iterator[redis.Redis]:
    """One connection that has chosen the database: it works for every scheme."""
    settings = Settings(redis_url=url, broker_url="", control_url="")
    with closing(connect(url, settings)) as pool, closing(pool.client()) as connection:
        if number:
            connection.execute_command("SELECT", number)
        yield connection
