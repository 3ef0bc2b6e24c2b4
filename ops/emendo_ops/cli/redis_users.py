"""`emendo redis-users`: the users that Redis should have, one for each role, with as few rights as it needs."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from emendo_config import ConfigurationError, Settings
from emendo_config.redis_users import PLANES, ROLES, Names, acl_file, rights_of
from emendo_ops.console.examples import examples
from emendo_ops.console.output import echo

_VARIABLES = {"data": "EMENDO_REDIS_URL", "control": "EMENDO_CONTROL_URL", "broker": "EMENDO_BROKER_URL"}
_ACL = "users.acl"
# Read by redis-cli: the health check of the container that Redis runs in.
_CHECK = ("redis.env", "REDISCLI_AUTH", "exporter")


@click.command(
    "redis-users",
    epilog=examples("emendo redis-users > users.acl", "emendo redis-users --address redis:6379 --out redis-users"),
)
@click.option("--prefix", help="Of the keys.  [default: EMENDO_KEY_PREFIX]")
@click.option(
    "--plane",
    "planes",
    multiple=True,
    type=click.Choice(PLANES),
    help="Only for what this Redis serves, if there are several; may be repeated.  [default: everything]",
)
@click.option(
    "--broker-database",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The database of the broker's keys.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the file there, with new passwords, and a file with the URL for each role.",
)
@click.option("--address", default="redis:6379", show_default=True, help="Of this Redis, for the URLs.")
def redis_users(
    prefix: str | None, planes: tuple[str, ...], broker_database: int, folder: Path | None, address: str
) -> None:
    """Print the ACL file of Redis, with a user for each role.

    The printed file has no passwords, so Redis lets nobody in with it. With --out the passwords are made, and only
    their SHA-256 goes into the ACL file.
    """
    names = Names.of(_prefix(prefix), broker_database)
    served = [plane for plane in PLANES if not planes or plane in planes]
    if folder is None:
        echo(acl_file(names, served).rstrip("\n"))
        return
    passwords = {role: secrets.token_urlsafe(32) for role in ROLES}
    files = {_ACL: acl_file(names, served, passwords)}
    for role, password in passwords.items():
        if not rights_of(role, names, served).commands:
            continue
        wanted = served if planes else ["data"]  # the others follow from the data Redis
        lines = [
            f"{_VARIABLES[plane]}=redis://{role}:{password}@{address}/{broker_database if plane == 'broker' else 0}\n"
            for plane in wanted
        ]
        files[f"{role}.env"] = "".join(lines)
    name, variable, role = _CHECK
    files[name] = f"{variable}={passwords[role]}\n"
    _write(folder, files)
    echo(f"{folder}: {', '.join(files)}")


def _prefix(given: str | None) -> str:
    return Settings().key_prefix if given is None else Settings(key_prefix=given).key_prefix


def _write(folder: Path, files: dict[str, str]) -> None:
    """Writes new files; only the ACL file, which has no password, may be read by others (Redis' own user).

    Raises:
        ConfigurationError: one of them is there, or the folder cannot be used.
    """
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise ConfigurationError(
            f"{folder} has {', '.join(there)} already",
            suggestion="processes may still use these passwords; remove the files, or name another folder",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            path.touch(mode=0o644 if name == _ACL else 0o600, exist_ok=False)
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written ({error.strerror})", suggestion="name another") from None
