"""`emendo up`: the whole stack in one terminal."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from emendo_client.cli.ports import port_option
from emendo_config import Settings
from emendo_config.settings import redact_url
from emendo_config.worker_process import WORKER_THREADS

# What another terminal needs besides the key to search what the workers here embedded.
_EMBEDDING = ("PROVIDER", "BASE_URL", "MODEL", "DIMENSIONS")


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path(".emendo"), show_default=True)
@port_option("--redis-port", note="; unused when EMENDO_REDIS_URL is set")
@port_option("--gateway-port")
@port_option("--flower-port")
@click.option("--concurrency", type=click.IntRange(1, 256), default=WORKER_THREADS, show_default=True)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when everything answers; JSON.")
def up(  # noqa: PLR0917  # click passes every option
    directory: Path,
    redis_port: int,
    gateway_port: int,
    flower_port: int,
    concurrency: int,
    ready_file: Path | None,
) -> int:
    """Run Redis, a worker, beat, Flower and the gateway; Ctrl-C stops them all."""
    from emendo_client.local.folders import make_folder
    from emendo_client.local.stack import StackOptions, own_redis_url, prepare, write_ready_file
    from emendo_client.local.supervisor import Supervisor

    make_folder(directory)
    specs, addresses = prepare(StackOptions(directory.resolve(), redis_port, gateway_port, flower_port, concurrency))
    supervisor = Supervisor(specs)
    supervisor.handle_signals()
    if ready_file is not None:
        # One left by a run that was killed would send whoever waits for it to addresses nobody answers at.
        ready_file.unlink(missing_ok=True)
    own_redis = own_redis_url()
    if own_redis:
        supervisor.say(f"EMENDO_REDIS_URL is set: using the Redis at {redact_url(own_redis)}")
    supervisor.start()
    try:
        supervisor.say("everything answers:")
        where = "EMENDO_REDIS_URL, as set here" if own_redis else f"export EMENDO_REDIS_URL={addresses.redis_url}"
        supervisor.say(f"  Redis    {redact_url(addresses.redis_url)}   ({where})")
        supervisor.say(f"  gateway  {addresses.gateway_url}/health")
        supervisor.say(
            f"  Flower   {addresses.flower_url}   user {addresses.flower_user}, password {addresses.flower_password}"
        )
        for line in _needed_to_search(Settings(redis_url=addresses.redis_url)):
            supervisor.say(line)
        supervisor.say("Ctrl-C stops everything")
        if ready_file is not None:
            write_ready_file(ready_file, addresses, supervisor)
        return supervisor.run()
    finally:
        supervisor.stop()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _needed_to_search(settings: Settings) -> Iterator[str]:
    """The embedding settings of the workers, to be exported elsewhere; what is, or may hold, a secret only by name."""
    if settings.space.provider == "local":
        return
    given = {name: os.environ.get(name, "").strip() for name in (f"EMENDO_EMBEDDING_{part}" for part in _EMBEDDING)}
    given["EMENDO_EMBEDDING_BASE_URL"] = settings.embedding_base_url  # which OPENAI_BASE_URL may have given
    given = {name: value for name, value in given.items() if value}
    shown = {name: value for name, value in given.items() if "_URL" not in name or redact_url(value) == value}
    hidden = [name for name in given if name not in shown]
    if settings.embedding_api_key.get_secret_value():
        hidden.append("EMENDO_EMBEDDING_API_KEY" if os.environ.get("EMENDO_EMBEDDING_API_KEY") else "OPENAI_API_KEY")
    yield "  whoever searches needs the workers' embedding settings:"
    if shown:
        yield f"    export {' '.join(f'{name}={shlex.quote(value)}' for name, value in shown.items())}"
    if hidden:
        yield f"    and, not shown here: {', '.join(hidden)}"
