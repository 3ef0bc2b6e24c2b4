"""Commands on memories: add, update, delete, restore, get, search, history."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click

from emendo_client import MemoryClient
from emendo_client.cli import FAILED
from emendo_client.cli.confirm import confirmed, yes_option
from emendo_client.cli.output import json_option, print_json, print_table, report, scope_options, write_options
from emendo_client.operations import CONFLICT_MODES


def _metadata(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        document = json.loads(value)
    except ValueError:
        raise click.BadParameter("it is not JSON") from None
    if not isinstance(document, dict):
        raise click.BadParameter("it is not a JSON object")
    return document


metadata_option = click.option("--metadata", callback=_metadata, help="A JSON object.")


def _conversation(_: click.Context, __: click.Parameter, file: TextIO | None) -> Any:
    if file is None:
        return None
    try:
        return json.load(file)
    except ValueError:  # bytes that are no UTF-8, too
        raise click.BadParameter("it is not JSON") from None


@click.command()
@click.argument("text", required=False)
@click.option(
    "--messages",
    type=click.File(encoding="utf-8"),
    callback=_conversation,
    help='A JSON file, or - for standard input: [{"role": "user", "content": "…", "name": "…"}, …].',
)
@scope_options
@metadata_option
@click.option("--infer/--no-infer", default=True, help="Ask the chat model what to remember.")
@click.option("--dry-run", is_flag=True, help="Show what would be remembered, and change nothing.")
@write_options
@json_option
def add(  # noqa: PLR0917  # click passes every option
    text: str | None,
    messages: Any,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    metadata: dict[str, Any] | None,
    infer: bool,
    dry_run: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Remember TEXT, or a conversation, for a user, agent or run."""
    if (text is None) == (messages is None):
        raise click.UsageError("give either TEXT or --messages")
    if dry_run and not (infer and wait):
        raise click.UsageError("--dry-run shows what inference would do: give neither --no-infer nor --no-wait with it")
    with MemoryClient() as client:
        said = messages if text is None else text
        job = client.add(said, user_id, agent_id, run_id, metadata, infer=infer, dry_run=dry_run)
        return report(job, wait=wait, timeout=timeout, as_json=as_json, dry_run=dry_run)


@click.command()
@click.argument("memory_id")
@click.option("--text", help="The new text.")
@metadata_option
@click.option("--expected-version", type=int, help="The version the change is based on.")
@click.option(
    "--on-conflict",
    type=click.Choice(CONFLICT_MODES),
    default=CONFLICT_MODES[0],
    show_default=True,
    help="What becomes of the change when others were faster.",
)
@click.option("--actor", "actor_id", help="Who makes the change.")
@write_options
@json_option
def update(  # noqa: PLR0917
    memory_id: str,
    text: str | None,
    metadata: dict[str, Any] | None,
    expected_version: int | None,
    on_conflict: str,
    actor_id: str | None,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Change a memory's text, merge metadata into it, or both."""
    with MemoryClient() as client:
        job = client.update(
            memory_id,
            text,
            metadata,
            expected_version=expected_version,
            on_conflict=on_conflict,
            actor_id=actor_id,
        )
        return report(job, wait=wait, timeout=timeout, as_json=as_json)


@click.command()
@click.argument("memory_id")
@click.option("--hard", is_flag=True, help="Erase it for good: text, metadata, vector and owners, everywhere.")
@yes_option
@write_options
@json_option
def delete(memory_id: str, hard: bool, yes: bool, wait: bool, timeout: float, as_json: bool) -> int:  # noqa: PLR0917
    """Hide a memory, which `emendo restore` brings back; with --hard, erase it."""
    if hard and not confirmed(f"Erase memory {memory_id} for good?", yes=yes):
        return FAILED
    with MemoryClient() as client:
        return report(client.delete(memory_id, hard), wait=wait, timeout=timeout, as_json=as_json)


@click.command()
@click.argument("memory_id")
@click.option("--version", type=int, help="As it was at this version; default: as it was deleted.")
@write_options
@json_option
def restore(memory_id: str, version: int | None, wait: bool, timeout: float, as_json: bool) -> int:
    """Bring a deleted memory back, or any memory back to an earlier version."""
    with MemoryClient() as client:
        return report(client.restore(memory_id, version), wait=wait, timeout=timeout, as_json=as_json)


@click.command()
@click.argument("memory_id")
@json_option
def get(memory_id: str, as_json: bool) -> None:
    """Show one memory."""
    with MemoryClient() as client:
        memory = client.get(memory_id)
    if as_json:
        print_json(memory)
    else:
        print_table(f"memory {memory_id}", ("field", "value"), memory.model_dump(mode="json").items())


@click.command()
@click.argument("query")
@scope_options
@click.option("--limit", type=int, default=10, show_default=True)
@click.option("--all-users", is_flag=True, help="Search the whole project.")
@json_option
def search(  # noqa: PLR0917
    query: str,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    limit: int,
    all_users: bool,
    as_json: bool,
) -> None:
    """Find memories by meaning."""
    with MemoryClient() as client:
        hits = client.search(query, user_id, agent_id, run_id, limit=limit, all_users=all_users)
    if as_json:
        print_json(list(hits))
    else:
        rows = ((f"{hit.score:.3f}", hit.id, hit.version, hit.memory) for hit in hits)
        print_table(f"{len(hits)} found", ("score", "id", "version", "text"), rows)


@click.command()
@click.argument("memory_id")
@json_option
def history(memory_id: str, as_json: bool) -> None:
    """Show every change of a memory, oldest first."""
    with MemoryClient() as client:
        entries = client.history(memory_id)
    if as_json:
        print_json(list(entries))
    else:
        rows = (
            (e.version, e.event, f"{e.updated_at:%Y-%m-%d %H:%M:%S}", e.old_memory, e.new_memory, e.actor_id)
            for e in entries
        )
        print_table(f"history of {memory_id}", ("version", "event", "at (UTC)", "old", "new", "actor"), rows)
