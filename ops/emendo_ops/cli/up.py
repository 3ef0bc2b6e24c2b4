"""`emendo up`, `down` and `status`: the whole stack on this machine."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emendo_config import ConfigurationError, Settings
from emendo_config.child_processes import environment_for
from emendo_config.urls import redact_url
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import folder_option, json_option
from emendo_ops.console.output import echo, print_json
from emendo_ops.console.ports import port_option

if TYPE_CHECKING:
    from emendo_ops.stack.plan import Addresses
    from emendo_ops.stack.running import RunFolder

# The settings that a search in another terminal needs, besides the key: those that these workers embed with.
_EMBEDDING = ("PROVIDER", "BASE_URL", "MODEL", "DIMENSIONS", "HEADERS", "SEND_DIMENSIONS", "SEND_ENCODING_FORMAT")
_DETACHED_START = 300.0  # seconds

_dir_option = folder_option(".emendo", "The folder of its data and logs.")


@click.command(epilog=examples("emendo up", "emendo up --detach --gateway-port 8081"))
@_dir_option
@port_option("--redis-port", None, "; by default 6379 or the next free one. Unused when EMENDO_REDIS_URL is set")
@port_option("--gateway-port", None, "; by default 8080 or the next free one")
@port_option("--flower-port", None, "; by default 5555 or the next free one")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=WORKER_THREADS,
    show_default=True,
    help="Threads of the worker.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when everything answers; JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Also show the output of each process, which its log has.")
@click.option("--detach", is_flag=True, help="Return when everything answers; emendo down stops it.")
def up(  # noqa: PLR0917  # click passes every option
    directory: Path,
    redis_port: int | None,
    gateway_port: int | None,
    flower_port: int | None,
    concurrency: int,
    ready_file: Path | None,
    verbose: bool,
    detach: bool,
) -> int:
    """Run Redis, a worker, beat, Flower and the gateway; Ctrl-C stops them all."""
    from emendo_client.testing.folders import make_folder, private_files
    from emendo_ops.stack.gateway_key import development_key
    from emendo_ops.stack.plan import StackOptions, prepare, write_ready_file
    from emendo_ops.stack.requirements import own_redis_url
    from emendo_ops.stack.running import RunFolder
    from emendo_ops.stack.supervisor import Supervisor

    make_folder(directory)
    folder = RunFolder(directory)
    if detach:
        ports = (("--redis-port", redis_port), ("--gateway-port", gateway_port), ("--flower-port", flower_port))
        return _detach(
            folder,
            [
                *("--concurrency", str(concurrency)),
                *(word for option, port in ports if port is not None for word in (option, str(port))),
                *(("--ready-file", str(ready_file.absolute())) if ready_file is not None else ()),
                *(["--verbose"] if verbose else []),
            ],
        )
    with private_files(), folder.hold():
        options = StackOptions(folder.directory, redis_port, gateway_port, flower_port, concurrency)
        specs, addresses = prepare(options)
        supervisor = Supervisor(specs, logs=folder.logs, verbose=verbose)
        supervisor.handle_signals()
        if ready_file is not None:
            # A file left by a killed run would name addresses at which nobody answers.
            ready_file.unlink(missing_ok=True)
        own_redis = own_redis_url()
        if own_redis:
            supervisor.say(f"EMENDO_REDIS_URL is set: using the Redis at {redact_url(own_redis)}")
        supervisor.say(f"starting {', '.join(spec.name for spec in specs)}; logs in {folder.logs}")
        supervisor.start()
        try:
            key = development_key(folder.gateway_key, Settings(redis_url=addresses.redis_url))
            addresses = dataclasses.replace(addresses, gateway_key=key)
            lines = _table(addresses, folder, own_redis=bool(own_redis))
            folder.write({"pid": os.getpid(), "ready": True, "lines": lines, "pids": supervisor.pids})
            supervisor.print([*lines, "", "Ctrl-C or emendo down stops everything"])
            if ready_file is not None:
                write_ready_file(ready_file, addresses, supervisor)
            return supervisor.run()
        finally:
            supervisor.stop()
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


@click.command(epilog=examples("emendo down"))
@_dir_option
def down(directory: Path) -> None:
    """Stop what emendo up started, and wait until it has ended."""
    from emendo_ops.stack.running import RunFolder

    folder = RunFolder(directory)
    echo("stopped" if folder.stop() else f"emendo up does not run with the folder {folder.directory}")


@click.command(epilog=examples("emendo status --json"))
@_dir_option
@json_option
def status(directory: Path, as_json: bool) -> int:
    """Show the addresses of what emendo up started; exit code 1 when it does not run."""
    from emendo_ops.stack.running import RunFolder

    folder = RunFolder(directory)
    record = folder.record()
    if as_json:
        print_json({name: record.get(name) for name in ("pid", "ready", "pids")} if record else {})
    elif not record:
        echo(f"emendo up does not run with the folder {folder.directory}")
    else:
        echo("\n".join(record.get("lines") or [f"process {record['pid']} is starting"]))
    return 0 if record else FAILED


def _table(addresses: Addresses, folder: RunFolder, *, own_redis: bool) -> list[str]:
    """Where everything answers, for people: a few lines."""
    url = redact_url(addresses.redis_url)
    # With the password, as Flower's is shown: the user who starts the stack needs both.
    redis_note = "EMENDO_REDIS_URL, as set here" if own_redis else f"export EMENDO_REDIS_URL={addresses.redis_url}"
    rows = [
        ("Redis", url, redis_note),
        ("gateway", addresses.gateway_url, f"Authorization: Bearer {addresses.gateway_key}"),
        ("Flower", addresses.flower_url, f"user {addresses.flower_user}, password {addresses.flower_password}"),
        ("logs", str(folder.logs), ""),
    ]
    width = max(len(where) for _, where, note in rows if note)
    lines = [f"{name:<8} {where:<{width}}  {note}".rstrip() for name, where, note in rows]
    return [*lines, *_needed_to_search(Settings(redis_url=addresses.redis_url))]


def _detach(folder: RunFolder, options: list[str]) -> int:
    """Starts `emendo up` with these options in a session of its own, and waits until it is ready."""
    from emendo_ops.stack.plan import emendo

    if folder.record():
        raise folder.is_taken()
    output = folder.path / "up.log"
    folder.path.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command
            emendo("up", "--dir", str(folder.directory), *options),
            env=environment_for("stack"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record: dict[str, Any] = {}
    try:
        deadline = time.monotonic() + _DETACHED_START
        while not (record := folder.ready_record(process.pid)):
            if process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    finally:
        if not record and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if not record:
        echo(output.read_text(errors="replace").rstrip(), err=True)
        raise ConfigurationError("emendo up did not start", suggestion=f"its lines above say why; they are in {output}")
    echo("\n".join([*record["lines"], "", "emendo down stops everything"]))
    return 0


def _needed_to_search(settings: Settings) -> Iterator[str]:
    """The workers' embedding settings, for export elsewhere. Values that are or may hold secrets are only named."""
    if settings.space.provider == "local":
        return
    given = {name: os.environ.get(name, "").strip() for name in (f"EMENDO_EMBEDDING_{part}" for part in _EMBEDDING)}
    given["EMENDO_EMBEDDING_BASE_URL"] = settings.embedding_base_url  # may come from OPENAI_BASE_URL
    given = {name: value for name, value in given.items() if value}
    shown = {
        name: value
        for name, value in given.items()
        if not name.endswith("_HEADERS") and ("_URL" not in name or redact_url(value) == value)
    }
    hidden = [name for name in given if name not in shown]
    if settings.embedding_api_key.get_secret_value():
        hidden.append("EMENDO_EMBEDDING_API_KEY" if os.environ.get("EMENDO_EMBEDDING_API_KEY") else "OPENAI_API_KEY")
    yield "  a process that searches needs the workers' embedding settings:"
    if shown:
        yield f"    export {' '.join(f'{name}={shlex.quote(value)}' for name, value in shown.items())}"
    if hidden:
        yield f"    and, not shown here: {', '.join(hidden)}"
