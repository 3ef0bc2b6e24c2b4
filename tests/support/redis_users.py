"""A Redis with the users of `emendo_config.redis_users`, and the settings of each role."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.fixtures import settings_for
from emendo_config import Settings
from emendo_config.redis_users import ROLES, Names, acl_file
from tests.support.logins import with_login

PREFIX = "emendo:"


class UsersRedis:
    """An own Redis in which every role has a user and a password, and `default` is off.

    Attributes:
        admin: a connection that may do everything, for the test itself.
        passwords: by role.
        port: where it listens.
    """

    def __init__(self, server: EmbeddedRedis) -> None:
        self._server = server
        self.port = server.port
        self.passwords = {role: secrets.token_hex(16) for role in ROLES}
        secret = secrets.token_hex(16)
        with redis.Redis.from_url(server.url) as first:
            first.execute_command("ACL", "SETUSER", "admin", "on", f">{secret}", "~*", "&*", "+@all")
        self.admin = redis.Redis(host="127.0.0.1", port=server.port, username="admin", password=secret, protocol=2)
        self.load(acl_file(Names.of(PREFIX), passwords=self.passwords))

    def load(self, rules: str) -> None:
        """Gives users the rules of an ACL file."""
        for line in rules.splitlines():
            _, name, *words = line.split(" ")
            self.admin.execute_command("ACL", "SETUSER", name, *words)

    def url(self, role: str) -> str:
        """The URL of database 0 for a role."""
        return with_login(self._server.url, f"{role}:{self.passwords[role]}")

    def connection(self, role: str) -> redis.Redis:
        """A connection as a role."""
        return redis.Redis.from_url(self.url(role), protocol=2)

    def settings(self, role: str, base_url: str, **more: Any) -> Settings:
        """The settings of a process that has this role."""
        return settings_for(self.url(role), base_url, **{"key_prefix": PREFIX, **more})

    def refusals(self) -> set[tuple[str, str, str]]:
        """The refusals since the last look: (user, reason, the command, key or channel)."""
        found: Any = self.admin.acl_log(1_000)
        self.admin.acl_log_reset()
        return {(entry["username"], entry["reason"], entry["object"]) for entry in map(_texts, found)}


def _texts(entry: Mapping[Any, Any]) -> dict[str, str]:
    def text(value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)

    return {text(name): text(value) for name, value in entry.items() if not isinstance(value, dict)}


@contextmanager
def users_redis(directory: Path) -> Iterator[UsersRedis]:
    """Starts such a Redis for the block."""
    with EmbeddedRedis(directory) as server:
        made = UsersRedis(server)
        try:
            yield made
        finally:
            made.admin.close()
