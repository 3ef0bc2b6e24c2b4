"""`emendo eval`: how good a configured model is at what Emendo asks of it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from emendo_client.cli.processes import become
from emendo_config import ConfigurationError


@click.group(name="eval")
def evaluate() -> None:
    """Measure how good a configured model is at what Emendo asks of it."""


@evaluate.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def inference(arguments: tuple[str, ...]) -> None:
    """Measure facts and decisions of the chat model on labelled cases; see `emendo eval inference --help`."""
    # By name, since the client never imports the workers; its options are its own.
    if find_spec("emendo_workers") is None:
        raise ConfigurationError("the worker is not installed", suggestion="pip install 'emendo[worker]'")
    become([sys.executable, "-m", "emendo_workers.inference.evaluation", *arguments])
