"""Commands that run one process of the system: redis, worker, beat, flower, gateway."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import sys
from pathlib import Path

import click

from emendo_client.testing.folders import PASSWORD, hold_folder, make_folder, name_holder, private_files
from emendo_client.testing.ports import LOOPBACK, require_address, usable_port
from emendo_config import ConfigurationError, GatewaySettings, Settings
from emendo_config.child_processes import environment_for, python_module
from emendo_config.queues import QUEUES, names_at_broker
from emendo_config.urls import redact_url
from emendo_config.worker_process import WORKER_ENVIRONMENT, WORKER_THREADS
from emendo_ops import extras
from emendo_ops.console.examples import examples
from emendo_ops.console.options import folder_option
from emendo_ops.console.output import echo
from emendo_ops.console.ports import port_option


def celery_command(*words: str) -> list[str]:
    """Celery's command with Emendo's app, from a safe path.

    Raises:
        ConfigurationError: the worker's extra is not installed.
    """
    extras.require("worker", "the worker")
    # Celery's banner is no JSON.
    quiet = ["--quiet"] if Settings().log_format == "json" else []
    return python_module("emendo_workers", *quiet, *words)


@click.command(epilog=examples("emendo redis --port 0 --dir data"))
@port_option("--port", 6379)
@folder_option(".emendo/redis", "The folder of its data.")
def redis(port: int, directory: Path) -> None:
    """Run the embedded Redis with search in the foreground."""
    from emendo_client.testing.embedded_redis import EmbeddedRedis

    port = usable_port(port, "Redis", "--port")
    held = hold_folder(directory)
    server = EmbeddedRedis(directory, port)
    command = server.command()
    address = redact_url(server.url)
    name_holder(held, f"process {os.getpid()}, the Redis at {address}")
    os.set_inheritable(held, True)  # the server replaces this process and holds the folder from then on
    echo(f"Redis with search at {address}, data in {directory}", err=True)
    password = f"$(cat {shlex.quote(str(directory.absolute() / PASSWORD))})"
    echo(f'export EMENDO_REDIS_URL="{address.replace("//", f"//:{password}@")}"', err=True)
    exec_process(command, environment_for("redis"), server.secret_configuration())


@click.command(epilog=examples("emendo worker", "emendo worker --queues interactive,bulk --concurrency 8"))
@click.option("--queues", default=",".join(QUEUES), show_default=True, help="Comma-separated.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=WORKER_THREADS, show_default=True, help="Drains at once."
)
@click.option("--name", default="", help="Shown in Flower; default: unique for each start.")
@click.option(
    "--pool",
    type=click.Choice(["threads", "prefork", "solo"]),
    default="threads",
    show_default=True,
    help="How drains run at once.",
)
def worker(queues: str, concurrency: int, name: str, pool: str) -> None:
    """Run a worker."""
    unknown = sorted(set(queues.split(",")) - set(QUEUES))
    if unknown:
        raise click.UsageError(f"unknown queues: {', '.join(unknown)}; there are {', '.join(QUEUES)}")
    settings = Settings()
    names = names_at_broker(settings.broker_url, settings.key_prefix)
    at_broker = ",".join(names[queue] for queue in queues.split(","))
    for variable, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    exec_process(
        celery_command(
            *("worker", "--pool", pool, "--concurrency", str(concurrency), "--queues", at_broker),
            *("--hostname", f"{name or 'emendo-' + secrets.token_hex(4)}@%h"),
            # Gossip and mingle let workers greet each other. Emendo does not need it, and it slows each start.
            *("--without-gossip", "--without-mingle", "--task-events", "--loglevel", settings.log_level),
        ),
        environment_for("worker"),
    )


@click.command(epilog=examples("emendo beat"))
@folder_option(".emendo/beat", "The folder it runs in.")
def beat(directory: Path) -> None:
    """Run the clock of the periodic jobs. One of them is enough."""
    settings = Settings()
    make_folder(directory)
    exec_process(
        celery_command(
            *("beat", "--scheduler", "emendo_workers.runtime.beat:MemoryScheduler"),
            *("--schedule", str(directory / "alive"), "--pidfile", "", "--loglevel", settings.log_level),
        ),
        environment_for("beat"),
    )


@click.command(epilog=examples("EMENDO_FLOWER_PASSWORD=secret emendo flower --port 5555"))
@click.option("--host", default=LOOPBACK, show_default=True, help="Flower shows job ids: think before you open it.")
@port_option("--port", 5555)
def flower(host: str, port: int) -> None:
    """Run Flower, the dashboard, behind a password (EMENDO_FLOWER_PASSWORD).

    It only shows things, unless EMENDO_FLOWER_READ_ONLY=false lets it stop workers and send tasks.
    """
    extras.require("flower", "Flower")
    extras.require("worker", "the worker")
    settings = Settings()
    password = settings.flower_password.get_secret_value()
    if not password:
        raise ConfigurationError("Flower has no password", suggestion="set EMENDO_FLOWER_PASSWORD")
    if ":" in settings.flower_user:
        raise ConfigurationError("Flower cannot take a ':' in EMENDO_FLOWER_USER", suggestion="choose another name")
    if not (settings.flower_user + password).isascii():
        raise ConfigurationError(
            "Flower compares ASCII only, and EMENDO_FLOWER_USER or EMENDO_FLOWER_PASSWORD has other characters",
            suggestion="choose others",
        )
    port = usable_port(port, "Flower", "--port")
    require_address(host, port, "Flower", "--host")
    from emendo_ops.dashboard.serve import serve

    serve(settings, host, port)


@click.command(epilog=examples("emendo gateway --port 8080"))
@click.option("--host", help="Default: EMENDO_GATEWAY_HOST, which is 127.0.0.1 unless it is set.")
@port_option("--port", 8080)
def gateway(host: str | None, port: int) -> None:
    """Run the HTTP gateway; see docs/how-to/http.md."""
    extras.require("gateway", "the gateway")
    from emendo_config.logs import configure_logging
    from emendo_gateway.server import make_server

    settings = Settings()
    own = GatewaySettings() if host is None else GatewaySettings(host=host)
    port = usable_port(port, "the gateway", "--port")
    require_address(own.host, port, "the gateway", "--host")
    configure_logging(settings)
    # uvicorn raises the signal once more when it has ended well, which would look like a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    make_server(settings, own, port).run()


def exec_process(command: list[str], environment: dict[str, str], given: str | None = None) -> None:
    """Replaces this process, so that signals reach the program itself. It reads `given` from standard input."""
    sys.stdout.flush()
    # A script's shell ignores SIGINT for what it starts in the background, and the program would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if given is not None:
        reading, writing = os.pipe()
        os.write(writing, given.encode())  # short enough for the pipe
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)
    with private_files():
        os.execve(command[0], command, environment)  # noqa: S606  # no shell is wanted
