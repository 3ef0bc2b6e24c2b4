"""The table of commands, and how one is run."""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import import_module
from pathlib import Path

import click

from emendo_config.errors import EmendoError
from emendo_config.tracebacks import safe_traceback
from emendo_ops.console.exit_codes import FAILED, INTERRUPTED, USAGE
from emendo_ops.console.output import as_json, echo, prepare_streams
from emendo_ops.console.words import error_for_the_command_line

# Commands by name, each with its module and attribute. A module is imported only if its command is asked for, so
# that `emendo --help` is quick.
COMMANDS = {
    "add": "memories:add",
    "beat": "processes:beat",
    "bench": "bench:bench",
    "cancel": "jobs:cancel",
    "completion": "completion:completion",
    "conflicts": "conflicts:conflicts",
    "conformance": "conformance:conformance",
    "count": "listings:count",
    "dead": "dead:dead",
    "delete": "memories:delete",
    "demo": "demo:demo",
    "diagnose": "diagnose:diagnose",
    "doctor": "doctor:doctor",
    "down": "up:down",
    "erase": "erase:erase",
    "eval": "evaluate:evaluate",
    "export": "export:export",
    "flower": "processes:flower",
    "gateway": "processes:gateway",
    "get": "memories:get",
    "history": "history:history",
    "import": "import_:import_memories",
    "jobs": "jobs:jobs",
    "keys": "keys:keys",
    "list": "listings:list_memories",
    "project": "project:project",
    "purge": "purge:purge",
    "redis": "processes:redis",
    "redis-users": "redis_users:redis_users",
    "reembed": "reembed:reembed",
    "restore": "memories:restore",
    "search": "memories:search",
    "status": "up:status",
    "up": "up:up",
    "update": "memories:update",
    "users": "listings:users",
    "worker": "processes:worker",
}


# Files that a command writes have no name in these errors.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the base class's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"emendo_ops.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows only the commands that are imported
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emendo")
def cli() -> None:
    """Emendo: long-term memories for AI applications, added and updated by workers."""


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    Errors go to standard error, as JSON if `--json` is among the arguments.
    """
    prepare_streams()
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at its end, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # a reader that has seen enough is no error: | head
            echo(f"Error: standard output: {error.strerror}", err=True)
        return FAILED
    return code


def _run(arguments: list[str]) -> int:  # noqa: PLR0911  # one for each kind of end
    try:
        outcome = cli.main(arguments, prog_name="emendo", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        _show(error)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        _show(error)
        return FAILED
    except EmendoError as error:
        message = as_json(error.to_dict()) if "--json" in arguments else f"Error: {error_for_the_command_line(error)}"
        echo(message, err=True)
        return FAILED
    except Exception as error:  # noqa: BLE001  # a defect, or a damaged document; Python would quote it
        told = _of_a_file(error) if isinstance(error, OSError) else None
        if told is None:
            echo(safe_traceback(error), err=True)
            told = f"an unexpected {type(error).__name__}; please report it"
        echo(f"Error: {told}", err=True)
        return FAILED
    return outcome if isinstance(outcome, int) else 0


def _of_a_file(error: OSError) -> str | None:
    """The fault of a file that a person named, of the current folder, or of the disk; None for anything else."""
    if isinstance(error.filename, str | bytes | os.PathLike):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno == errno.ENOENT and not _has_current_folder():
        return "the current folder is gone (change to one that is there)"
    return error.strerror if error.errno in _NO_ROOM else None


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _show(error: click.ClickException) -> None:
    """Prints an error of click, which may repeat an argument."""
    shown = io.StringIO()
    error.show(shown)
    echo(shown.getvalue().removesuffix("\n"), err=True)
