"""`emendo project rules`: what a project asks of inference."""

from __future__ import annotations

import click

from emendo_client import MemoryClient, ProjectRules
from emendo_client.cli.groups import stands_alone
from emendo_client.cli.output import json_option, print_json


@click.group()
def project() -> None:
    """What holds for the project that EMENDO_PROJECT names."""


@project.group(invoke_without_command=True)
@json_option
@click.pass_context
def rules(context: click.Context, as_json: bool) -> None:
    """Show what the project asks of inference; `project rules set` changes it."""
    if not stands_alone(context):
        return
    with MemoryClient() as client:
        _print(client.project, client.project_rules(), as_json=as_json)


@rules.command("set")
@click.option("--instructions", help="What to remember and what to leave out, in plain words; '' for none.")
@click.option("--category", "categories", multiple=True, help="A name facts are sorted into; give it for each.")
@click.option("--no-categories", is_flag=True, help="Sort facts into nothing.")
@json_option
def set_rules(instructions: str | None, categories: tuple[str, ...], no_categories: bool, as_json: bool) -> None:
    """Change the instructions, the categories or both, from the next job on; what is not given stays."""
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
    # Unwrapped, so that it can be copied.
    click.echo(f"project: {name}")
    click.echo(f"instructions: {found.instructions or 'none'}")
    click.echo(f"categories: {', '.join(found.categories) or 'none'}")
