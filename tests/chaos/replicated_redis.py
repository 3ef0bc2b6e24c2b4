"""A master with two replicas behind one address, which moves to another server at a failover."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.patience import PATIENCE


class Forwarder:
    """One TCP address for whichever server is the target; a switch breaks all connections."""

    def __init__(self) -> None:
        self.port = free_port()
        self._target = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, target: int) -> None:
        """Listens, and forwards to this port."""
        self._target = target
        self._thread.start()
        serve = asyncio.start_server(self._forward, LOOPBACK, self.port)
        asyncio.run_coroutine_threadsafe(serve, self._loop).result(PATIENCE)

    def switch(self, target: int) -> None:
        """From now on connections lead to this port."""
        self._loop.call_soon_threadsafe(self._switch, target)

    def stop(self) -> None:
        """Breaks all connections and listens no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _switch(self, target: int) -> None:
        self._target = target
        for writer in list(self._writers):
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(server_writer)
        await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:  # a switch, or the client's own end
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class ReplicatedRedis:
    """A master and two replicas; `fail_over` makes a replica the master."""

    def __init__(self, directory: Path) -> None:
        self._servers = [EmbeddedRedis(directory / f"data-{number}", password="") for number in range(3)]
        self._forwarder = Forwarder()
        self._master = self._servers[0]

    @property
    def url(self) -> str:
        """The address of whichever server is the master."""
        return f"redis://{LOOPBACK}:{self._forwarder.port}/0"

    def start(self) -> None:
        """Starts the servers and waits until both replicas have all."""
        for server in self._servers:
            server.start()
            with _connected(server) as connection:
                connection.config_set("repl-diskless-sync-delay", 0)
        self._forwarder.start(self._master.port)
        self._follow()

    def kill(self) -> None:
        """Ends the servers and the forwarder."""
        self._forwarder.stop()
        for server in self._servers:
            server.kill()

    def fail_over(
        self, apart: float, *, before: Callable[[], object] | None = None, after: Callable[[], object] | None = None
    ) -> tuple[int, int]:
        """Cuts the replicas off; some seconds later the one that got the most is the master, as Sentinel chooses it.

        Changes that the old master made in between are lost: it becomes a replica of the new one.

        Args:
            apart: seconds that the old master goes on.
            before: done while the replicas are cut off.
            after: done as soon as the new master is there.

        Returns:
            Beginning and end of the time in which the old master's writes were lost (microseconds).
        """
        began = time.time_ns() // 1_000
        others = [server for server in self._servers if server is not self._master]
        offsets = {}
        for server in others:
            with _connected(server) as connection:
                connection.replicaof("NO", "ONE")
                offsets[server] = int(connection.info("replication")["master_repl_offset"])
        time.sleep(apart)
        if before is not None:
            before()
        self._master = max(others, key=offsets.__getitem__)
        self._forwarder.switch(self._master.port)
        ended = time.time_ns() // 1_000
        if after is not None:
            after()
        self._follow()
        return began, ended

    def _follow(self) -> None:
        """All others become replicas of the master."""
        others = [server for server in self._servers if server is not self._master]
        for server in others:
            with _connected(server) as connection:
                connection.replicaof(LOOPBACK, str(self._master.port))
        deadline = time.monotonic() + PATIENCE
        for server in others:
            with _connected(server) as connection:
                while connection.info("replication").get("master_link_status") != "up":
                    assert time.monotonic() < deadline, "a replica does not follow"
                    time.sleep(0.02)


def _connected(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2, decode_responses=True)
