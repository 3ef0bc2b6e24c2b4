"""`emendo export`: memories with their histories, as JSON Lines."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click
from redis.exceptions import RedisError

from emendo_client.exchanges.redis_errors import translate
from emendo_config import Settings
from emendo_config.store.connections import connect
from emendo_ops.backup.export import Export
from emendo_ops.backup.lines import Counts
from emendo_ops.backup.target import CompleteError, File, Report, Stream
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.output import echo
from emendo_ops.console.progress import progress_bar

_SHOWN = 5


@click.command(
    epilog=examples(
        "emendo export backup.jsonl --all-projects --vectors", "emendo export - --project shop | gzip > shop.jsonl.gz"
    )
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--project", help="The project; by default EMENDO_PROJECT.")
@click.option("--all-projects", is_flag=True, help="Export every project.")
@click.option("--vectors", is_flag=True, help="Export the vectors too: an import need not embed again.")
@click.option("--resume", is_flag=True, help="Go on with FILE after an interruption.")
def export(file: Path, project: str | None, all_projects: bool, vectors: bool, resume: bool) -> int:
    """Write memories with their histories to FILE, as JSON Lines; - is standard output.

    Deleted and expired memories are among them; of an erased one, what stayed of it. The store may be in use.
    """
    if project is not None and all_projects:
        raise click.UsageError("give --project or --all-projects, not both")
    if resume and str(file) == "-":
        raise click.UsageError("--resume needs a file")
    settings = Settings()
    wanted = None if all_projects else project or settings.project
    try:
        with (
            connect(settings.redis_url, settings) as connection,
            progress_bar("memories") as report,
        ):
            made = Export(connection, settings, wanted, vectors=vectors)
            counts = _write(made, file, report, resume=resume)
    except CompleteError:
        echo(f"{file.name} is complete: nothing is left to do", err=True)
        return 0
    except RedisError as error:
        raise translate(error) from error
    return _report(made, counts)


def _write(made: Export, file: Path, report: Report, *, resume: bool) -> Counts:
    if str(file) == "-":
        counts = Counts()
        made.write(Stream(sys.stdout.buffer), 0, counts, report, begins=True)
        return counts
    with closing(File(file, made.scan(), resume=resume)) as target:
        made.write(target, target.cursor, target.counts, report, begins=target.begins)
        return target.counts


def _report(made: Export, counts: Counts) -> int:
    echo(f"{counts.memories:,} memories with {counts.entries:,} history entries", err=True)
    if not made.damaged:
        return 0
    shown = ", ".join(made.damaged[:_SHOWN]) + (", …" if len(made.damaged) > _SHOWN else "")
    echo(f"{len(made.damaged):,} damaged memories are not in it: {shown}; emendo diagnose says more", err=True)
    return FAILED
