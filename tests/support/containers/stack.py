"""docker-compose.yml as it stands, run by podman-compose in a folder of its own, at free ports."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_ops.cli.app import run
from tests.support.commands import output_of
from tests.support.containers.engine import Engine
from tests.support.containers.images import PublicImages, build_options
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]
# The files of the repository that compose and the build read.
_FILES = ("docker-compose.yml", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
_FOLDERS = ("config", "api_client", "workers", "ops")
USERS = Path("ops/compose/redis-users")
FLOWER = ("emendo", "hush")
# Where the stand-in for a provider listens, in a container that a test starts.
PROVIDER, PROVIDER_PORT = "provider", 8000
# May look at the connections of others, which no role may.
OBSERVER, OBSERVERS_PASSWORD = "observer", "looks"
# Linux's numbers for an interface's hardware address.
_GET_ADDRESS, _SET_ADDRESS = 0x8927, 0x8924


class Stack:
    """The services of docker-compose.yml under a project's name of their own.

    Attributes:
        folder: has the copy of the repository.
        ports: on this machine, by service.
    """

    def __init__(self, engine: Engine, folder: Path, images: PublicImages) -> None:
        self.engine = engine
        self.folder = folder
        self.images = images
        self.project = f"emendo-{uuid.uuid4().hex[:8]}"
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        self.services: dict[str, Any] = compose["services"]
        self.ours = sorted(name for name, each in self.services.items() if each["image"] == "emendo:local")
        self.ports = {name: free_port() for name, each in self.services.items() if "ports" in each}

    def write(self, common: Mapping[str, str], embedding: Mapping[str, str], chat: Mapping[str, str]) -> None:
        """Writes what a user writes: the copied files, the settings, the users of Redis, other ports."""
        for name in _FILES:
            shutil.copy2(ROOT / name, self.folder / name)
        for name in _FOLDERS:
            shutil.copytree(
                ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.env", "redis-users")
            )
        assert run(["redis-users", "--prefix", "emendo:", "--out", str(self.folder / USERS)]) == 0
        with (self.folder / USERS / "users.acl").open("a") as rules:
            rules.write(
                f"user {OBSERVER} on >{OBSERVERS_PASSWORD} +client|list +acl|log +auth +hello +client|setinfo\n"
            )
        for name, variables in (("common", common), ("embedding", embedding), ("providers", chat)):
            self._write_variables(f"ops/compose/{name}.env", variables)
        user, password = FLOWER
        own = {"EMENDO_FLOWER_USER": user, "EMENDO_FLOWER_PASSWORD": password}
        self._write_variables(".env", {**self.images.variables(), **own})
        ports = {}
        for service, port in self.ports.items():
            (published,) = self.services[service]["ports"]
            address, _, inside = published.split(":")
            ports[service] = f'  {service}:\n    ports: !override ["{address}:{port}:{inside}"]\n'
        (self.folder / "docker-compose.override.yml").write_text("services:\n" + "".join(ports.values()))

    def _write_variables(self, path: str, variables: Mapping[str, str]) -> None:
        (self.folder / path).write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def compose(self, *words: str) -> str:
        """The output of `podman-compose …`, which has to succeed."""
        command = [sys.executable, "-m", "podman_compose", "--project-name", self.project]
        return output_of([*command, *words], self.folder, self.engine.environment, LONG_PATIENCE)

    def build(self) -> None:
        """Builds the image, with what pip needs on this machine."""
        self.compose(f"--podman-build-args={' '.join(build_options(self.folder))}", "build")

    def start(self) -> None:
        """Starts all services, and keeps the hardware address by which they reach this machine, with its name server.

        Netavark before 1.9 has it change when a container comes or goes. Others lose packets for a while.
        """
        self.compose("up", "--detach")
        (network,) = json.loads(self.engine("network", "inspect", f"{self.project}_default"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            asked = struct.pack("16s16x", network["network_interface"].encode())
            address = fcntl.ioctl(any_socket, _GET_ADDRESS, asked)
            fcntl.ioctl(any_socket, _SET_ADDRESS, address)  # a bridge keeps one that was set

    def containers(self, service: str = "") -> list[str]:
        """The names of the containers of a service, or of all, whether they run or not."""
        labels = [f"com.docker.compose.project={self.project}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return self.engine("ps", "--all", "--format", "{{.Names}}", *filters).split()

    def container(self, service: str) -> str:
        """The name of the only container of a service."""
        (name,) = self.containers(service)
        return name

    def service_of(self, container: str) -> str:
        """The service that a container belongs to."""
        return str(self.engine.look(container)["Config"]["Labels"]["com.docker.compose.service"])

    def check(self, container: str) -> tuple[int, str]:
        """Runs a container's own health check once: 0 if it is well. By itself only systemd runs them."""
        return self.engine.ask("healthcheck", "run", container)

    def until_healthy(self, *containers: str) -> None:
        """Waits until the health check of each container succeeds."""
        for container in containers or self.containers():
            said = ["it was never asked"]

            def is_well(container: str = container, said: list[str] = said) -> bool:
                code, said[0] = self.check(container)
                return code == 0

            def why(container: str = container, said: list[str] = said) -> str:
                return f"{container}: {said[0]} {self.logs(container)[-3_000:]}"

            until(is_well, why)

    def until_workers(self, count: int) -> None:
        """Waits until the gateway counts so many workers, and calls the whole well."""
        until(lambda: self.health() == (200, count), lambda: f"{self.health()}, and not {count} workers")

    def health(self) -> tuple[int, int]:
        """The gateway's answer at its published port: the status, and how many workers live."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self.ports['gateway']}/health", timeout=PATIENCE
            ) as answer:
                return answer.status, json.loads(answer.read())["workers"]
        except OSError as error:
            return getattr(error, "code", 0), 0

    def logs(self, container: str) -> str:
        """Everything a container has written."""
        return self.engine("logs", container)

    def run_options(self, *roles: str) -> list[str]:
        """Options of `podman run` for a further container, as ops/README.md has them for an operator's."""
        files = [f"ops/compose/{name}.env" for name in ("common", "embedding")]
        files += [f"{USERS}/{role}.env" for role in roles]
        options = ["--network", f"{self.project}_default"]
        return [*options, *(word for path in files for word in ("--env-file", str(self.folder / path)))]

    def operator(self, *words: str) -> str:
        """The output of `emendo …` in a container, as ops/README.md has it."""
        return self.engine("run", "--rm", *self.run_options("operator"), "emendo:local", *words)

    @contextmanager
    def provider(self, *options: str) -> Iterator[None]:
        """The stand-in for a provider, in a container that all services reach.

        Args:
            options: further ones of `podman run`.
        """
        name = f"{self.project}_{PROVIDER}"
        serve = ["-m", "emendo_client.testing", "--host", "0.0.0.0", "--port", str(PROVIDER_PORT)]
        where = ["--network", f"{self.project}_default", "--network-alias", PROVIDER, *options]
        self.engine("run", "--detach", "--name", name, *where, "--entrypoint", "python", "emendo:local", *serve)
        try:
            yield
        finally:
            self.engine("rm", "--force", "--time", "0", name)
