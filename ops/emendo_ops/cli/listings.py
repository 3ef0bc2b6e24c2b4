"""`emendo list`, `emendo count` and `emendo users`."""

from __future__ import annotations

from typing import Any

import click

from emendo_client import MemoryClient
from emendo_client.requests.listings import ORDERS
from emendo_ops.console.examples import examples
from emendo_ops.console.filters import filter_option, names_a_scope
from emendo_ops.console.options import json_option, require_scope, scope_options
from emendo_ops.console.output import echo, print_json, print_table

_KINDS = ("user", "agent", "run")
cursor_option = click.option("--cursor", help="Read on: the cursor that the page before ended with.")


@click.command(
    name="list",
    epilog=examples(
        "emendo list --user ana --limit 20", "emendo list --all-users --filter 'metadata.price<=12' --json"
    ),
)
@scope_options
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="By this time; a minus for the newest first.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="At most this many.")
@cursor_option
@click.option("--all-users", is_flag=True, help="List the whole project.")
@click.option("--include-deleted", is_flag=True, help="Also deleted and expired memories.")
@filter_option
@json_option
def list_memories(  # noqa: PLR0917  # click passes every option
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    order: str,
    limit: int,
    cursor: str | None,
    all_users: bool,
    include_deleted: bool,
    filters: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """List memories, page by page."""
    if not (all_users or names_a_scope(filters)):
        require_scope(user_id, agent_id, run_id, "--all-users to list the whole project")
    with MemoryClient() as client:
        page = client.get_all(
            user_id,
            agent_id,
            run_id,
            order=order,
            limit=limit,
            cursor=cursor,
            filters=filters,
            all_users=all_users,
            include_deleted=include_deleted,
        )
    if as_json:
        print_json(page)
        return
    rows = ((memory.id, memory.version, memory.created_at.isoformat(), memory.memory) for memory in page.results)
    print_table(f"{len(page.results)} of {page.total}", ("id", "version", "created", "text"), rows)
    _say_how_to_go_on(page.next_cursor)


@click.command(epilog=examples("emendo count --all-users", "emendo count --user ana --filter 'metadata.topic=food'"))
@scope_options
@click.option("--all-users", is_flag=True, help="Count the whole project.")
@click.option("--include-deleted", is_flag=True, help="Also deleted and expired memories.")
@filter_option
@json_option
def count(  # noqa: PLR0917
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    all_users: bool,
    include_deleted: bool,
    filters: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Count memories."""
    if not (all_users or names_a_scope(filters)):
        require_scope(user_id, agent_id, run_id, "--all-users to count the whole project")
    with MemoryClient() as client:
        found = client.count(
            user_id, agent_id, run_id, filters=filters, all_users=all_users, include_deleted=include_deleted
        )
    if as_json:
        print_json({"count": found})
    else:
        echo(str(found))


@click.command(epilog=examples("emendo users", "emendo users --kind agent"))
@click.option("--kind", type=click.Choice(_KINDS), default=_KINDS[0], show_default=True, help="Users, agents or runs.")
@click.option("--limit", type=int, default=100, show_default=True, help="At most this many.")
@cursor_option
@json_option
def users(kind: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """List the users, agents or runs that have memories, and how many."""
    with MemoryClient() as client:
        page = {"user": client.users, "agent": client.agents, "run": client.runs}[kind](limit=limit, cursor=cursor)
    if as_json:
        print_json(page)
        return
    print_table(f"{kind}s", ("id", "memories"), ((owner.id, owner.memories) for owner in page.results))
    _say_how_to_go_on(page.next_cursor)


def _say_how_to_go_on(cursor: str | None) -> None:
    if cursor is not None:
        echo(f"there are more: --cursor {cursor}")
