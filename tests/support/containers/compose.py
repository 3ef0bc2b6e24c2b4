"""docker-compose.yml in a folder of a machine of containers, and the shell lines that ops/README.md has for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.containers.machine import ROOT, Machine
from tests.support.patience import LONG_PATIENCE, until

# The pages say docker. Here that is podman, and podman-compose with what a build needs on such a machine.
_DOCKER = """#!/bin/sh
[ "$1" = compose ] || exec podman "$@"
shift
exec podman-compose --podman-build-args="--ulimit nofile=20000:20000 --network host --layers=false" "$@"
"""
PROJECT = "emendo"
NETWORK = f"{PROJECT}_default"
USERS = "ops/compose/redis-users"
_HERE = Path(__file__).resolve().parent


class Stack:
    """The containers of docker-compose.yml.

    Args:
        machine: where they run; it has the stand-ins of the public images.
        folder: becomes a checkout, without anything that is not committed.
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        folder.mkdir()
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, tracked.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        docker = Path(machine.environment["PATH"].partition(":")[0]) / "docker"
        docker.write_text(_DOCKER)
        docker.chmod(0o755)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """The facts of all containers, or of those of one service, running or not, as `podman inspect` has them."""
        label = f"com.docker.compose.service={service}" if service else f"com.docker.compose.project={PROJECT}"
        names = self.machine.podman("ps", "--all", "--format={{.Names}}", f"--filter=label={label}").split()
        found: list[dict[str, Any]] = json.loads(self.machine.podman("inspect", *names)) if names else []
        return found

    def container(self, service: str) -> dict[str, Any]:
        """The only container of a service."""
        (found,) = self.containers(service)
        return found

    def until_healthy(self) -> None:
        """Waits for every container; runs the health checks as systemd's timers would on a machine that has them."""
        for name in [each["Name"] for each in self.containers()]:
            until(lambda name=name: self.is_healthy(name), lambda name=name: self._condition(name), LONG_PATIENCE)

    def _condition(self, name: str) -> str:
        state = self.machine.podman("inspect", "--format={{json .State}}", name)
        return f"{name} is not healthy: {state}{self.machine.podman('logs', '--tail=5', name)}"

    def is_healthy(self, name: str) -> bool:
        """Runs a container's health check once."""
        return self.machine.run(["podman", "healthcheck", "run", name], check=False).returncode == 0

    def restarted(self, name: str, before: dict[str, Any]) -> bool:
        """True when a container runs, and has been started since `before`, what podman knew of it then."""
        (now,) = json.loads(self.machine.podman("inspect", name))
        return now["State"]["Status"] == "running" and now["State"]["StartedAt"] != before["State"]["StartedAt"]

    def inside(self, service: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command in the only container of a service."""
        return self.machine.run(["podman", "exec", self.container(service)["Name"], *command], check=check)

    def start_provider(self) -> None:
        """Starts the embedding provider's stand-in in a container of its own, which is called openai."""
        self.machine.run(["podman", "run", "--detach", "--name=openai", *self._program("provider.py")])

    def client(self, role: str, *arguments: str) -> str:
        """Runs clients.py in another container, as the Redis user of a role; returns what it prints."""
        settings = [f"--env-file={self.folder}/{name}.env" for name in (f"{USERS}/{role}", "ops/compose/embedding")]
        return self.machine.podman("run", "--rm", *settings, *self._program("clients.py"), *arguments)

    def _program(self, name: str) -> list[str]:
        """The words that run one of our own programs with the image's Python."""
        volume = f"--volume={_HERE / name}:/{name}:ro"
        return [f"--network={NETWORK}", volume, "--entrypoint=python", "emendo:local", f"/{name}"]
