"""`emendo import`: memories of an export, or of mem0, into a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import IO, Any

import click
from redis.exceptions import RedisError

from emendo_client import MemoryClient
from emendo_client.errors import EmendoError
from emendo_client.exchanges.redis_errors import translate
from emendo_config import Settings
from emendo_config.spaces.registry import SpaceRecord
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_json
from emendo_ops.console.progress import progress_bar
from emendo_ops.extras import require

_SHOWN = 20
# How each count is called.
WORDS = {
    "created": "created",
    "updated": "brought to a later version",
    "same": "the same already",
    "newer_kept": "newer or erased in the store, and kept",
    "other_kept": "with another history in the store, and kept",
    "erased": "erased, as the file says",
    "refused": "refused",
}


@click.command(
    name="import",
    epilog=examples("emendo import backup.jsonl", "emendo import --from mem0 memories.json --project shop"),
)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--from",
    "form",
    type=click.Choice(("emendo", "mem0")),
    default="emendo",
    show_default=True,
    help="The program that wrote FILE.",
)
@click.option("--project", help="Only this project of an export; of mem0, the project that gets the memories.")
@click.option("--incomplete", is_flag=True, help="Import an export that has no end, as far as it goes.")
@json_option
def import_memories(file: IO[bytes], form: str, project: str | None, incomplete: bool, as_json: bool) -> int:
    """Put the memories of FILE into the store, which may be in use, and have missing vectors made.

    Ids, versions, histories and times stay. Memories that the store has newer are kept. A second import changes
    nothing. It writes memories, so it needs the Redis user of a worker.
    """
    require("worker", "the part that writes memories")
    settings = Settings()
    try:
        return _run(file, form, project, settings, incomplete=incomplete, as_json=as_json)
    except RedisError as error:
        raise translate(error) from error


def _run(
    file: IO[bytes], form: str, project: str | None, settings: Settings, *, incomplete: bool, as_json: bool
) -> int:
    from emendo_ops.backup import importing, mem0, reading
    from emendo_ops.backup.memory import FileMemory, Refused
    from emendo_workers.store import open_store

    with closing(open_store(settings)) as store:
        found: Iterable[FileMemory | Refused]
        spaces: Mapping[str, SpaceRecord] = {}
        export: reading.ExportFile | None = None
        if form == "mem0":
            documents = mem0.records(file)
            total: int | None = len(documents)
            found = mem0.memories(documents, settings, project or settings.project, store.data_time())
        else:
            export = reading.ExportFile(file, incomplete=incomplete)
            total, spaces, found = export.total, export.spaces, export.memories()
        made = importing.Import(store, spaces)
        done = 0
        with progress_bar("memories", quiet=as_json) as show:
            for part in _parts(found, importing.AT_ONCE):
                for refused in part:
                    if isinstance(refused, Refused):
                        made.refuse(refused)
                made.take(
                    [
                        each
                        for each in part
                        if isinstance(each, FileMemory) and (form == "mem0" or project in (None, each.project))
                    ]
                )
                done += len(part)
                show(done, max(done, total or 0))
        made.finish()
    report = made.report
    missing = 0 if export is None or export.total is None else export.total - export.read
    jobs = _follow_up(settings, report.erased, report.lacking)
    counts = {verdict.value: count for verdict, count in report.counts.items()}
    if as_json:
        refused_parts = [{"line": each.line, "reason": each.reason} for each in report.refused]
        print_json({**counts, "missing": missing, "lacking_vectors": report.lacking, "refusals": refused_parts, **jobs})
    else:
        _print(counts, report, missing, jobs)
    return FAILED if report.refused or missing else 0


def _parts(found: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(found)
    while part := list(itertools.islice(rest, size)):
        yield part


def _follow_up(settings: Settings, erased: list[tuple[str, str]], lacking: int) -> dict[str, Any]:
    """Submits the jobs that an import leaves to workers: erasures, and the vectors that are missing."""
    jobs: dict[str, Any] = {"erasures": [], "embedding": None}
    for project, memory_ids in itertools.groupby(sorted(erased), key=lambda each: each[0]):
        with MemoryClient(settings, project=project) as client:
            jobs["erasures"] += [client.delete(memory_id, hard=True).id for _, memory_id in memory_ids]
    if lacking:
        with MemoryClient(settings) as client:
            try:
                jobs["embedding"] = client.reembed(filters={"missing": True}).id
            except EmendoError as error:
                jobs["embedding_error"] = error.message
    return jobs


def _print(counts: Mapping[str, int], report: Any, missing: int, jobs: Mapping[str, Any]) -> None:
    for name, count in counts.items():
        if count:
            echo(f"{count:,} {WORDS[name]}")
    if not any(counts.values()):
        echo("no memories")
    for each in report.refused[:_SHOWN]:
        echo(f"line {each.line}: {each.reason}", err=True)
    if report.refused[_SHOWN:]:
        echo(f"… and {len(report.refused) - _SHOWN:,} more; --json names all", err=True)
    if report.kept:
        echo(f"kept with another history: lines {', '.join(map(str, report.kept[:_SHOWN]))}", err=True)
    if missing:
        echo(f"the file should have {missing:,} more memories than it has", err=True)
    if jobs["embedding"]:
        echo(f"{report.lacking:,} lack a vector: job {jobs['embedding']} makes them (emendo reembed status)")
    elif report.lacking:
        said = jobs.get("embedding_error", "")
        echo(f"{report.lacking:,} lack a vector: run emendo reembed --only missing ({said})", err=True)
