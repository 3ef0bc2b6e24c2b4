"""`emendo completion`: the script with which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from emendo_ops.console.examples import examples

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        'eval "$(emendo completion bash)"',
        "emendo completion bash > ~/.local/share/bash-completion/completions/emendo",
        "emendo completion fish > ~/.config/fish/completions/emendo.fish",
    )
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL. For this shell only: run it with eval."""
    program = context.find_root().info_name or "emendo"
    kind = get_completion_class(shell)
    assert kind is not None, shell
    made = kind(context.find_root().command, {}, program, f"_{program.upper()}_COMPLETE")
    click.echo(made.source(), nl=False)
