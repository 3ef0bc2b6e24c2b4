"""A RabbitMQ of the tests' own: a child process with its data in a folder, where the machine has rabbitmq-server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from amqp import Connection

from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.patience import LONG_PATIENCE

# The scripts themselves: the one on PATH, of Debian's package, would become the user rabbitmq.
_SCRIPTS = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def server_script() -> str | None:
    """The command that starts RabbitMQ; None if the machine has none."""
    if shutil.which("epmd") is None:
        return None
    return str(_SCRIPTS) if _SCRIPTS.is_file() else shutil.which("rabbitmq-server")


class RabbitMQ:
    """One node and its name server; a context manager. It can be killed, and started again on the same data and port.

    Args:
        directory: holds the data and the logs; created if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._node: subprocess.Popen[bytes] | None = None
        self.port, self._names_port, self._nodes_port = free_port(), free_port(), free_port()

    def __enter__(self) -> Self:
        self._directory.mkdir(exist_ok=True)
        with ExitStack() as stack:
            # Without one, the node would start one that outlives it.
            names = self._started(["epmd", "-address", LOOPBACK, "-port", str(self._names_port)])
            stack.callback(_kill, names)
            self._wait(self._names_port, names)
            stack.callback(self.kill)
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """As EMENDO_BROKER_URL takes it."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"

    def start(self) -> None:
        """Starts the node and waits until it takes messages."""
        script = server_script()
        assert script is not None, "rabbitmq-server is missing"
        self._node = self._started([script])
        deadline = time.monotonic() + LONG_PATIENCE
        while True:
            try:
                with Connection(f"{LOOPBACK}:{self.port}", connect_timeout=5) as connection:
                    connection.channel()
                    return
            except Exception as error:  # noqa: BLE001  # whatever it says while it starts
                self._require(self._node, deadline, error)
                time.sleep(0.1)

    def kill(self) -> None:
        """Ends the node at once, as if its machine were lost."""
        if self._node is not None:
            _kill(self._node)
            self._node = None

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._directory / "output.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,  # the script's own children end with it
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        folder = self._directory
        return {
            **kept,
            "HOME": str(folder),  # for the cookie
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": "emendo@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            # Two schedulers that do not spin while they wait: the tests need the cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def _wait(self, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + LONG_PATIENCE
        while True:
            try:
                socket.create_connection((LOOPBACK, port), timeout=5).close()
            except OSError as error:
                self._require(process, deadline, error)
                time.sleep(0.02)
            else:
                return

    def _require(self, process: subprocess.Popen[bytes], deadline: float, error: Exception) -> None:
        log = (self._directory / "output.log").read_text(errors="replace")[-2_000:]
        assert process.poll() is None, f"it ended: {log}"
        assert time.monotonic() < deadline, f"it does not answer: {error}: {log}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
