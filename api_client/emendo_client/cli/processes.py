"""Commands that become one process of the system: redis, worker, beat, flower, gateway."""

from __future__ import annotations

import os
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from emendo_client.cli.ports import port_option
from emendo_client.local.folders import hold_folder, make_folder, name_holder
from emendo_client.local.ports import LOOPBACK, usable_port
from emendo_config import ConfigurationError, Settings
from emendo_config.queues import QUEUES
from emendo_config.worker_process import WORKER_ENVIRONMENT, WORKER_THREADS


def celery_command(*words: str) -> list[str]:
    """`celery -A emendo_workers.app …`; by name, since the client never imports the workers."""
    if find_spec("emendo_workers") is None or find_spec("redisvl") is None:
        raise ConfigurationError("the worker is not installed", suggestion="pip install 'emendo[worker]'")
    return [sys.executable, "-m", "celery", "-A", "emendo_workers.app", *words]


@click.command()
@port_option("--port", 6379)
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path(".emendo/redis"), show_default=True)
def redis(port: int, directory: Path) -> None:
    """Run the embedded Redis with search in the foreground."""
    from emendo_client.local.embedded_redis import EmbeddedRedis

    port = usable_port(port, "Redis", "--port")
    held = hold_folder(directory)
    server = EmbeddedRedis(directory, port)
    name_holder(held, f"process {os.getpid()}, the Redis at {server.url}")
    os.set_inheritable(held, True)  # the server, which this process becomes, holds it from now on
    click.echo(f"Redis with search at {server.url}, data in {directory}", err=True)
    become(server.command())


@click.command()
@click.option("--queues", default=",".join(QUEUES), show_default=True, help="Comma-separated.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=WORKER_THREADS, show_default=True)
@click.option("--name", default="", help="Shown in Flower; default: unique for each start.")
@click.option("--pool", type=click.Choice(["threads", "prefork", "solo"]), default="threads", show_default=True)
def worker(queues: str, concurrency: int, name: str, pool: str) -> None:
    """Run a worker (celery -A emendo_workers.app worker)."""
    unknown = sorted(set(queues.split(",")) - set(QUEUES))
    if unknown:
        raise click.UsageError(f"unknown queues: {', '.join(unknown)}; there are {', '.join(QUEUES)}")
    settings = Settings()
    for variable, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    become(
        celery_command(
            *("worker", "--pool", pool, "--concurrency", str(concurrency), "--queues", queues),
            *("--hostname", f"{name or 'emendo-' + secrets.token_hex(4)}@%h"),
            # Gossip and mingle let workers greet each other; nothing here needs it, and it costs at each start.
            *("--without-gossip", "--without-mingle", "--task-events", "--loglevel", settings.log_level),
        )
    )


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path(".emendo/beat"), show_default=True)
def beat(directory: Path) -> None:
    """Run the clock of the periodic jobs. One of them is enough."""
    settings = Settings()
    make_folder(directory)
    become(
        celery_command(
            *("beat", "--schedule", str(directory / "schedule"), "--pidfile", "", "--loglevel", settings.log_level)
        )
    )


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Flower shows job ids: think before you open it.")
@port_option("--port", 5555)
def flower(host: str, port: int) -> None:
    """Run Flower, the dashboard, behind a password (EMENDO_FLOWER_PASSWORD)."""
    if find_spec("flower") is None:
        raise ConfigurationError("Flower is not installed", suggestion="pip install 'emendo[flower]'")
    settings = Settings()
    password = settings.flower_password.get_secret_value()
    if not password:
        raise ConfigurationError("Flower has no password", suggestion="set EMENDO_FLOWER_PASSWORD")
    if "," in password or ":" in settings.flower_user:
        raise ConfigurationError(
            "Flower cannot take a ',' in EMENDO_FLOWER_PASSWORD or a ':' in EMENDO_FLOWER_USER",
            suggestion="choose others",
        )
    port = usable_port(port, "Flower", "--port")
    # Through the environment: a command line can be read by every user of the machine.
    os.environ["FLOWER_BASIC_AUTH"] = f"{settings.flower_user}:{password}"
    become(celery_command("flower", f"--address={host}", f"--port={port}"))


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True)
@port_option("--port", 8080)
def gateway(host: str, port: int) -> None:
    """Run the HTTP gateway (it answers /health, /health/live and /metrics so far)."""
    if any(find_spec(name) is None for name in ("fastapi", "prometheus_client", "uvicorn")):
        raise ConfigurationError("the gateway is not installed", suggestion="pip install 'emendo[gateway]'")
    import uvicorn

    from emendo_client.gateway.app import create_app
    from emendo_config.logs import configure_logging

    settings = Settings()
    port = usable_port(port, "the gateway", "--port")
    configure_logging(settings)
    uvicorn.run(create_app(settings), host=host, port=port, log_config=None, access_log=False)


def become(command: list[str]) -> None:
    """Replaces this process, so that signals reach the program itself."""
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted
