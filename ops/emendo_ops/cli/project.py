"""`emendo project rules`: a project's instructions and categories for inference."""

from __future__ import annotations

import click

from emendo_client import MemoryClient, ProjectRules
from emendo_ops.console.examples import examples
from emendo_ops.console.group import stands_alone
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_json


@click.group(epilog=examples("emendo project rules"))
def project() -> None:
    """Show and change settings of the project that EMENDO_PROJECT names."""


@project.group(invoke_without_command=True, epilog=examples("emendo project rules --json"))
@json_option
@click.pass_context
def rules(context: click.Context, as_json: bool) -> None:
    """Show the project's rules for inference; `project rules set` changes them."""
    if not stands_alone(context):
        return
    with MemoryClient() as client:
        _print(client.project, client.project_rules(), as_json=as_json)


@rules.command(
    "set",
    epilog=examples(
        'emendo project rules set --instructions "Remember diets." --category food',
        "emendo project rules set --no-categories",
    ),
)
@click.option("--instructions", help="Plain words on which facts to remember and which to leave out; '' for none.")
@click.option("--category", "categories", multiple=True, help="A category for facts; may be given several times.")
@click.option("--no-categories", is_flag=True, help="Remove all categories.")
@json_option
def set_rules(instructions: str | None, categories: tuple[str, ...], no_categories: bool, as_json: bool) -> None:
    """Change the instructions, the categories or both, from the next job on. Options left out change nothing."""
    if categories and no_categories:
        raise click.UsageError("give --category or --no-categories, not both")
    if instructions is None and not categories and not no_categories:
        raise click.UsageError("give --instructions, --category or --no-categories")
    with MemoryClient() as client:
        changed = client.set_project_rules(
            instructions=instructions, categories=categories if categories or no_categories else None
        )
        _print(client.project, changed, as_json=as_json)


def _print(name: str, found: ProjectRules, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    # One line each, so that it can be copied.
    echo(f"project: {name}")
    echo(f"instructions: {found.instructions or 'none'}")
    echo(f"categories: {', '.join(found.categories) or 'none'}")
