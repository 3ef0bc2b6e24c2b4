"""A master, a replica and three sentinels of this machine's Redis server."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.ports import LOOPBACK, usable_port
from emendo_client.testing.redis_servers import find_server
from tests.support.patience import LONG_PATIENCE, until

MASTER_NAME = "memories"
# Milliseconds of silence after which the sentinels take the master for dead.
DOWN_AFTER_MS = 1_000


class Sentinels:
    """Starts all five; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.master = EmbeddedRedis(directory / "master", password="")
        self.replica = EmbeddedRedis(directory / "replica", password="")
        self.ports: list[int] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.master, self.replica):
                stack.enter_context(server)
            with redis.Redis(port=self.replica.port) as replica:
                replica.replicaof(LOOPBACK, self.master.port)
                until(lambda: replica.info("replication")["master_link_status"] == "up")
            for number in range(3):
                self.ports.append(usable_port(0, "Sentinel", "--port"))
                process = self._start(number, self.ports[-1])
                stack.callback(process.wait)
                stack.callback(process.kill)
            for port in self.ports:
                with redis.Redis(port=port) as sentinel:
                    until(lambda sentinel=sentinel: self._is_ready(sentinel))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """As EMENDO_REDIS_URL takes it."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}/0"

    def masters(self) -> set[int]:
        """The ports that the sentinels name as the master's."""
        named = set()
        for port in self.ports:
            with redis.Redis(port=port) as sentinel:
                named.add(int(sentinel.sentinel_get_master_addr_by_name(MASTER_NAME)[1]))
        return named

    def fail_over(self) -> EmbeddedRedis:
        """Kills the master, and starts it again when all sentinels name the other server; it is a replica then.

        Returns:
            The new master; the old one has caught up with it.
        """
        (port,) = self.masters()
        old, new = (self.master, self.replica) if port == self.master.port else (self.replica, self.master)
        old.kill()
        until(lambda: self.masters() == {new.port}, "the sentinels name no new master", LONG_PATIENCE)
        with redis.Redis(port=new.port) as connection:
            until(lambda: connection.info("replication")["role"] == "master")
        old.start()
        with redis.Redis(port=old.port) as connection:
            until(lambda: _follows(connection, new.port), "the old master is no replica", LONG_PATIENCE)
        for sentinel_port in self.ports:
            with redis.Redis(port=sentinel_port) as sentinel:
                until(lambda sentinel=sentinel: self._is_ready(sentinel), "a sentinel misses somebody", LONG_PATIENCE)
        return new

    def _start(self, number: int, port: int) -> subprocess.Popen[bytes]:
        folder = self._directory / f"sentinel-{number}"
        folder.mkdir()
        conf = folder / "sentinel.conf"
        conf.write_text(
            f"port {port}\nbind {LOOPBACK}\ndir {folder}\n"
            f"sentinel monitor {MASTER_NAME} {LOOPBACK} {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER_NAME} 5000\n"
        )
        with (folder / "log").open("wb") as log:
            return subprocess.Popen([find_server().argv[0], str(conf), "--sentinel"], stdout=log, stderr=log)

    @staticmethod
    def _is_ready(sentinel: redis.Redis) -> bool:
        try:
            state = sentinel.sentinel_masters().get(MASTER_NAME, {})
        except redis.ConnectionError:
            return False
        return state.get("num-other-sentinels") == 2 and state.get("num-slaves") == 1


def _follows(replica: redis.Redis, master: int) -> bool:
    try:
        state = replica.info("replication")
    except redis.ConnectionError:  # the sentinels break its connections when they make it a replica
        return False
    return (state.get("master_port"), state.get("master_link_status")) == (master, "up")
