"""The processes that `emendo up` starts, and their addresses."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.folders import hold_folder
from emendo_client.testing.ports import LOOPBACK, stable_port, usable_port
from emendo_config import Settings
from emendo_config.child_processes import Role, environment_for, python_module
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.stack.readiness import http_answers, redis_answers, worker_signed_on
from emendo_ops.stack.requirements import own_redis_url, require_answer, require_components
from emendo_ops.stack.supervisor import ProcessSpec, Supervisor

REDIS_PORT, GATEWAY_PORT, FLOWER_PORT = 6379, 8080, 5555
# Seconds that a worker may take for the jobs that it has.
WORKER_STOP_TIMEOUT = 40.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running stack answers; written to the ready file as JSON."""

    redis_url: str
    gateway_url: str
    flower_url: str
    flower_user: str
    flower_password: str
    gateway_key: str = ""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """The options of `emendo up`. With EMENDO_REDIS_URL set, redis_port is unused.

    Port 0 picks a free one, None the one that the process has by itself or the next free one above it.
    """

    directory: Path
    redis_port: int | None = None
    gateway_port: int | None = None
    flower_port: int | None = None
    concurrency: int = WORKER_THREADS


def prepare(options: StackOptions) -> tuple[list[ProcessSpec], Addresses]:
    """The processes to start, in order, and where they will answer. Nothing is started yet.

    Raises:
        ConfigurationError: a component is missing, a port or the folder is taken, or the user's own Redis does not
            answer.
    """
    own_redis = own_redis_url()
    require_components(Settings(), own_redis=bool(own_redis))
    if own_redis:
        require_answer(Settings())
    gateway_port = _port(options.gateway_port, GATEWAY_PORT, "the gateway", "--gateway-port")
    flower_port = _port(options.flower_port, FLOWER_PORT, "Flower", "--flower-port")
    specs = []
    if own_redis:
        redis_url = own_redis
    else:
        redis_port = _port(options.redis_port, REDIS_PORT, "Redis", "--redis-port")
        os.close(hold_folder(options.directory / "redis"))  # refuses a folder in use before anything is started
        redis_url = EmbeddedRedis(options.directory / "redis", redis_port).url
        specs.append(
            ProcessSpec(
                "redis",
                emendo("redis", "--port", str(redis_port), "--dir", str(options.directory / "redis")),
                environment_for("redis"),
                ready=lambda: redis_answers(redis_url),
                stop_timeout=30.0,
            )
        )
    settings = Settings(redis_url=redis_url)
    password = settings.flower_password.get_secret_value() or secrets.token_urlsafe(16)
    addresses = Addresses(
        redis_url=redis_url,
        gateway_url=f"http://{LOOPBACK}:{gateway_port}",
        flower_url=f"http://{LOOPBACK}:{flower_port}",
        flower_user=settings.flower_user,
        flower_password=password,
    )

    def env(role: Role, **more: str) -> dict[str, str]:
        return {**environment_for(role), "EMENDO_REDIS_URL": redis_url, **more}

    specs += [
        ProcessSpec(
            "worker",
            emendo("worker", "--concurrency", str(options.concurrency)),
            env("worker"),
            ready=lambda: worker_signed_on(settings),
            restart=True,
            stop_timeout=WORKER_STOP_TIMEOUT,
        ),
        ProcessSpec("beat", emendo("beat", "--dir", str(options.directory / "beat")), env("beat"), restart=True),
        ProcessSpec(
            "flower",
            emendo("flower", "--port", str(flower_port)),
            env("flower", EMENDO_FLOWER_PASSWORD=password),
            ready=lambda: http_answers(addresses.flower_url),
            restart=True,
        ),
        ProcessSpec(
            "gateway",
            emendo("gateway", "--host", LOOPBACK, "--port", str(gateway_port)),
            env("gateway"),
            ready=lambda: http_answers(f"{addresses.gateway_url}/health"),
            restart=True,
        ),
    ]
    return specs, addresses


def _port(given: int | None, own: int, server: str, option: str) -> int:
    return stable_port(own) if given is None else usable_port(given, server, option)


def emendo(*words: str) -> list[str]:
    """The `emendo` command of this very installation."""
    return python_module("emendo_ops.cli", *words)


def write_ready_file(path: Path, addresses: Addresses, supervisor: Supervisor) -> None:
    """Writes addresses and process ids as JSON; readable by the owner only, since it holds Flower's password."""
    document = json.dumps({**asdict(addresses), "pids": supervisor.pids}, indent=2)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # an existing file would keep its own mode
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(document)
    fresh.replace(path)
