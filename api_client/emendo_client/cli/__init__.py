"""The `emendo` command. Exit codes: 0 ok, 1 failed, 2 wrong usage."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import click

from emendo_config.errors import EmendoError

# Each command and where it lives; loaded only when it is asked for, so that `emendo --help` is quick.
_COMMANDS = {
    "add": "memories:add",
    "beat": "processes:beat",
    "bench": "bench:bench",
    "cancel": "jobs:cancel",
    "conflicts": "conflicts:conflicts",
    "dead": "dead:dead",
    "delete": "memories:delete",
    "demo": "demo:demo",
    "diagnose": "diagnose:diagnose",
    "doctor": "doctor:doctor",
    "eval": "evaluate:evaluate",
    "flower": "processes:flower",
    "gateway": "processes:gateway",
    "get": "memories:get",
    "history": "memories:history",
    "jobs": "jobs:jobs",
    "project": "project:project",
    "purge": "purge:purge",
    "redis": "processes:redis",
    "reembed": "reembed:reembed",
    "restore": "memories:restore",
    "search": "memories:search",
    "up": "up:up",
    "update": "memories:update",
    "worker": "processes:worker",
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the base class's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"emendo_client.cli.{module}"), attribute)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emendo")
def cli() -> None:
    """Emendo: long-term memories for AI applications, added and updated by workers."""


def main() -> None:
    """Runs the command line and exits with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str], command: click.Command = cli) -> int:
    """Runs one command; errors go to standard error, as JSON when `--json` was given."""
    try:
        outcome = command.main(arguments, prog_name="emendo" if command is cli else command.name, standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return FAILED
    except EmendoError as error:
        message = json.dumps(error.to_dict()) if "--json" in arguments else f"Error: {error}"
        click.echo(message, err=True)
        return FAILED
    return outcome if isinstance(outcome, int) else 0
