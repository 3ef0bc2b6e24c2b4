"""`emendo history`: shows the history of a memory, or writes histories to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import click

from emendo_client import MemoryClient
from emendo_client.exchanges.diagnosis.read import indexed_count
from emendo_client.exchanges.exchange import run
from emendo_client.exchanges.histories import export as export_histories
from emendo_client.models import HistoryEntry
from emendo_client.requests import validation
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_ops.console.examples import examples
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_json, print_table
from emendo_ops.console.progress import progress_bar


class _ShowsByDefault(click.Group):
    """`emendo history MEMORY_ID` is short for `emendo history show MEMORY_ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@click.group(
    cls=_ShowsByDefault,
    context_settings={"ignore_unknown_options": True},
    epilog=examples("emendo history MEMORY_ID", "emendo history export history.jsonl"),
)
def history() -> None:
    """Show every change of a memory: `emendo history MEMORY_ID`; or write histories to a file."""


@history.command(epilog=examples("emendo history show MEMORY_ID --json"))
@click.argument("memory_id")
@json_option
def show(memory_id: str, as_json: bool) -> None:
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


@history.command(
    epilog=examples("emendo history export history.jsonl --project shop", "emendo history export - --memory MEMORY_ID")
)
@click.argument("file", type=click.File("w", encoding="utf-8"))
@click.option("--memory", "memory_ids", multiple=True, metavar="ID", help="Only this memory; may be repeated.")
@click.option("--project", help="The project; by default EMENDO_PROJECT.")
def export(file: IO[str], memory_ids: Sequence[str], project: str | None) -> None:
    """Write the histories of all memories of a project to FILE, as JSON Lines: one entry a line; - is standard output.

    Deleted memories are among them. An erased memory's entries say when, what and by whom.
    """
    settings = Settings()
    wanted = [validation.memory_id(each) for each in memory_ids] or None
    keys = Keys(settings.key_prefix)
    entries = memories = total = 0
    newest = ""

    with connect(settings.redis_url, settings) as connection, progress_bar("memories") as advance:
        sender = {"data": sender_for(connection)}

        def write(entry: HistoryEntry) -> None:
            nonlocal entries, memories, total, newest
            entries += 1
            file.write(f"{entry.model_dump_json()}\n")
            if entry.memory_id == newest:
                return
            if not total:  # not before there is a memory: a store without any may have no index
                total = len(wanted) if wanted else run(sender, indexed_count(keys))
            memories, newest = memories + 1, entry.memory_id
            advance(memories - 1, max(total, memories))

        memories = run(sender, export_histories(keys, project or settings.project, wanted, write))
        file.flush()
    echo(f"{entries:,} entries of {memories:,} memories", err=True)
