"""`emendo up`: the whole stack in one terminal."""

from __future__ import annotations

from pathlib import Path

import click

from emendo_client.cli.ports import port_option
from emendo_config.worker_process import WORKER_THREADS


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
    from emendo_client.local.stack import StackOptions, prepare, write_ready_file
    from emendo_client.local.supervisor import Supervisor

    make_folder(directory)
    specs, addresses = prepare(StackOptions(directory.resolve(), redis_port, gateway_port, flower_port, concurrency))
    supervisor = Supervisor(specs)
    supervisor.handle_signals()
    if ready_file is not None:
        # One left by a run that was killed would send whoever waits for it to addresses nobody answers at.
        ready_file.unlink(missing_ok=True)
    supervisor.start()
    try:
        supervisor.say("everything answers:")
        supervisor.say(f"  Redis    {addresses.redis_url}   (export EMENDO_REDIS_URL={addresses.redis_url})")
        supervisor.say(f"  gateway  {addresses.gateway_url}/health")
        supervisor.say(
            f"  Flower   {addresses.flower_url}   user {addresses.flower_user}, password {addresses.flower_password}"
        )
        supervisor.say("Ctrl-C stops everything")
        if ready_file is not None:
            write_ready_file(ready_file, addresses, supervisor)
        return supervisor.run()
    finally:
        supervisor.stop()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
