"""`emendo add`, `update`, `delete`, `restore`, `get` and `search`."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click

from emendo_client import MemoryClient
from emendo_client.exchanges.memories import SEARCH_MODES
from emendo_client.requests.operations import CONFLICT_MODES
from emendo_ops.console.confirm import confirmed
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.filters import filter_option, names_a_scope
from emendo_ops.console.free_text import FreeTextCommand
from emendo_ops.console.job_report import report
from emendo_ops.console.options import (
    json_option,
    metadata_option,
    require_scope,
    scope_options,
    write_options,
    yes_option,
)
from emendo_ops.console.output import print_json, print_table


def _conversation(_: click.Context, __: click.Parameter, file: TextIO | None) -> Any:
    if file is None:
        return None
    try:
        return json.load(file)
    except ValueError:  # also bytes that are not UTF-8
        raise click.BadParameter("it is not JSON") from None


@click.command(
    cls=FreeTextCommand,
    epilog=examples(
        'emendo add "I dislike seafood." --user ana', "emendo add --messages chat.json --user ana --dry-run"
    ),
)
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
    require_scope(user_id, agent_id, run_id)
    with MemoryClient() as client:
        said = messages if text is None else text
        job = client.add(said, user_id, agent_id, run_id, metadata, infer=infer, dry_run=dry_run)
        return report(job, wait=wait, timeout=timeout, as_json=as_json, dry_run=dry_run)


@click.command(
    epilog=examples(
        'emendo update MEMORY_ID --text "I enjoy seafood."',
        'emendo update MEMORY_ID --metadata \'{"topic": "food"}\' --expected-version 3',
    )
)
@click.argument("memory_id")
@click.option("--text", help="The new text.")
@metadata_option
@click.option("--expected-version", type=int, help="The version the change is based on.")
@click.option(
    "--on-conflict",
    type=click.Choice(CONFLICT_MODES),
    default=CONFLICT_MODES[0],
    show_default=True,
    help="How to resolve a conflict with a newer change.",
)
@click.option("--actor", "actor_id", help="The person or program that makes the change.")
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


@click.command(epilog=examples("emendo delete MEMORY_ID", "emendo delete MEMORY_ID --hard"))
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


@click.command(epilog=examples("emendo restore MEMORY_ID", "emendo restore MEMORY_ID --version 2"))
@click.argument("memory_id")
@click.option("--version", type=int, help="As it was at this version; default: as it was deleted.")
@write_options
@json_option
def restore(memory_id: str, version: int | None, wait: bool, timeout: float, as_json: bool) -> int:
    """Bring a deleted memory back, or any memory back to an earlier version."""
    with MemoryClient() as client:
        return report(client.restore(memory_id, version), wait=wait, timeout=timeout, as_json=as_json)


@click.command(epilog=examples("emendo get MEMORY_ID --json"))
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


@click.command(
    cls=FreeTextCommand,
    epilog=examples(
        'emendo search "fish dishes" --user ana',
        "emendo search \"order AB-1234\" --user ana --mode hybrid --filter 'created_at>=2026-01-01'",
    ),
)
@click.argument("query")
@scope_options
@click.option("--limit", type=int, default=10, show_default=True, help="At most this many.")
@click.option("--all-users", is_flag=True, help="Search the whole project.")
@click.option(
    "--mode",
    type=click.Choice(SEARCH_MODES),
    default=SEARCH_MODES[0],
    show_default=True,
    help="By meaning, or by words too.",
)
@click.option("--threshold", type=float, help="Leave out what has a lower score.")
@filter_option
@json_option
def search(  # noqa: PLR0917
    query: str,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    limit: int,
    all_users: bool,
    mode: str,
    threshold: float | None,
    filters: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Find memories by meaning; with --mode hybrid, by meaning and words."""
    if not (all_users or names_a_scope(filters)):
        require_scope(user_id, agent_id, run_id, "--all-users to search the whole project")
    with MemoryClient() as client:
        hits = client.search(
            query,
            user_id,
            agent_id,
            run_id,
            limit=limit,
            filters=filters,
            all_users=all_users,
            mode=mode,
            threshold=threshold,
        )
    if as_json:
        print_json(list(hits))
    else:
        rows = ((f"{hit.score:.3f}", hit.id, hit.version, hit.memory) for hit in hits)
        print_table(f"{len(hits)} found", ("score", "id", "version", "text"), rows)
