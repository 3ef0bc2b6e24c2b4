"""A real Redis with search, run as a child process."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis
from redis.exceptions import BusyLoadingError, RedisError

from emendo_client.testing.folders import PRIVATE_UMASK, hold_folder, name_holder, password_in
from emendo_client.testing.ports import LOOPBACK, usable_port
from emendo_client.testing.redis_servers import find_server
from emendo_config.child_processes import environment_for
from emendo_config.errors import ConfigurationError
from emendo_config.urls import redact_url

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
# Redis' own words in its log when another process listens on its port.
_PORT_TAKEN = "Address already in use"
_PORT_TRIES = 5

# The options of every embedded Redis; ops/redis/redis.conf has the same.
# - A one-entry stream takes 4.3 KB with the default node size, and 0.75 KB with 512 bytes.
# - A memory's hash stays one piece of memory if its vector may be part of it. It then takes 1,100 bytes beyond the
#   vector instead of 2,350, at the same speed; 16 KB hold 4,000 dimensions.
# - Vectors cannot be compressed.
# - An append-only file that is rewritten from 64 MB on is rewritten all the time.
SERVER_OPTIONS = {
    "appendonly": "yes",
    "maxmemory-policy": "noeviction",
    "stream-node-max-bytes": "512",
    "hash-max-listpack-value": "16384",
    "save": "",
    "rdbcompression": "no",
    "auto-aof-rewrite-min-size": "512mb",
}


class EmbeddedRedis:
    """One Redis process with search; a context manager.

    It can be killed and started again on the same directory and port, and then finds its data.

    Args:
        directory: holds the append-only file and the log; created if missing.
        port: 0 picks a free one.
        appendfsync: `everysec`, or `always` for tests that kill the server.
        password: None takes the one in the directory's file `password`, which is made if missing; empty: none.
    """

    def __init__(
        self, directory: str | Path, port: int = 0, appendfsync: str = "everysec", password: str | None = None
    ) -> None:
        self._directory = Path(directory)
        self.port = port
        self.prefix = "emendo:"  # of the keys, unless the caller chooses another one
        self._appendfsync = appendfsync
        self._given_password = password
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of database 0, password included."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}{LOOPBACK}:{self.port}/0"

    @property
    def _password(self) -> str:
        if self._given_password is None:
            self._given_password = password_in(self._directory)
        return self._given_password

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it does not run."""
        return self._process.pid if self._process is not None else None

    def command(self) -> list[str]:
        """The whole command line. The server reads the rest of its configuration from standard input.

        Raises:
            ConfigurationError: see `find_server`.
        """
        options = {
            "bind": LOOPBACK,
            "protected-mode": "yes",
            "port": str(self.port),
            "dir": str(self._directory),
            "appendfsync": self._appendfsync,
            **SERVER_OPTIONS,
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [*find_server().argv, *flags, "-"]

    def secret_configuration(self) -> str:
        """The part for standard input, since every user of the machine can read a command line."""
        return f"requirepass {self._password}\n" if self._password else ""

    def start(self) -> None:
        """Starts the server and waits until it answers, its data loaded.

        With port 0 it picks another free port when some other process takes the picked one first.

        Raises:
            ConfigurationError: the port is taken, the folder cannot be used, no server was found, or the server died;
                then the message ends with its log.
        """
        picks = not self.port
        for tries_left in reversed(range(_PORT_TRIES)):
            self.port = usable_port(0 if picks else self.port, "Redis", "--redis-port")
            try:
                return self._start()
            except ConfigurationError as error:
                if not picks or not tries_left or _PORT_TAKEN not in error.message:
                    raise
        return None

    def _start(self) -> None:
        command = self.command()
        held = hold_folder(self._directory)
        secret = self.secret_configuration()
        log = self._directory / "redis.log"
        try:
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output:
                self._process = subprocess.Popen(  # noqa: S603  # found by find_server
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(held,),
                    env=environment_for("redis"),
                    umask=PRIVATE_UMASK,
                )
            assert self._process.stdin is not None
            with suppress(BrokenPipeError), self._process.stdin as configuration:  # it died: its log says why
                configuration.write(secret.encode())
            name_holder(held, f"process {self._process.pid}, the Redis at {redact_url(self.url)}")
        finally:
            os.close(held)  # the server alone holds it from now on
        deadline = time.monotonic() + START_TIMEOUT
        with redis.Redis.from_url(self.url, protocol=2) as connection:
            while not self._answers(connection):
                if _loads(connection):  # a large append-only file takes long to load
                    deadline = time.monotonic() + START_TIMEOUT
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    lines = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
                    raise ConfigurationError(f"Redis did not start: {lines}")
                time.sleep(0.02)

    def _answers(self, connection: redis.Redis) -> bool:
        try:
            # Its folder tells our server from another one that took the port before ours started.
            folder = connection.config_get("dir").get("dir")
        except RedisError:  # not listening yet, or loading its data
            return False
        return folder is not None and Path(folder) == self._directory.resolve()

    def stop(self) -> None:
        """Asks the server to end, and kills it if it does not in time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Sends SIGKILL, as if the machine were lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _loads(connection: redis.Redis) -> bool:
    try:
        connection.ping()
    except BusyLoadingError:
        return True
    except RedisError:  # not listening yet
        return False
    return False
