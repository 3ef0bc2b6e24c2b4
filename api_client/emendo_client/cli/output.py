"""How the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from emendo_client import Job, JobResult, JobStatus
from emendo_client.cli import FAILED
from emendo_client.cli.following import interruptible

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--user, --agent and --run."""
    for name, what in (("run", "run_id"), ("agent", "agent_id"), ("user", "user_id")):
        command = click.option(f"--{name}", what, help=f"The {what}.")(command)
    return command


def write_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--wait/--no-wait and --timeout."""
    command = click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds to wait.")(command)
    return click.option("--wait/--no-wait", default=True, help="Wait for the job to end.")(command)


def print_json(value: Any) -> None:
    """A model, a list of models, or plain values, as JSON."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table for people."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        # Ids are copied from here: broken over two lines they would be useless.
        table.add_column(column, overflow="fold", no_wrap=column in ("memory", "id", "job", "event"))
    for row in rows:
        # As Text: in a plain str rich would read "[red]" as markup, and fail at "[/x]" in somebody's memory.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console().print(table)


def print_entries(entries: Sequence[tuple[str, str]], *, nothing: str) -> None:
    """A list in two lines each, or what to say when it is empty.

    No table: one of 80 columns has no room beside an id, and breaks the kinds and codes that are copied from here.
    """
    for first, second in entries:
        click.echo(f"{first}\n  {second}")
    if not entries:
        click.echo(nothing)


def counted(count: int, what: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


@contextmanager
def progress_bar(label: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error when that is a terminal; what it yields takes (done, total)."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def report(job: Job, *, wait: bool, timeout: float, as_json: bool, dry_run: bool = False) -> int:
    """Prints an accepted job, or what became of it (would become, after a dry run); the exit code."""
    if not wait:
        if as_json:
            print_json({"job_id": job.id, "status": job.status().value})
        else:
            click.echo(f"accepted: job {job.id}")
        return 0
    with interruptible(job):
        result = job.wait(timeout)
    if as_json:
        print_json(result)
    elif dry_run:
        _print_plan(result)
    else:
        _print_result(result)
    return 0 if result.status == JobStatus.SUCCEEDED else FAILED


def _print_result(result: JobResult) -> None:
    print_table(
        f"job {result.job_id}: {result.status}",
        ("memory", "event", "version", "text", "error"),
        (
            (
                item.memory_id,
                item.event or item.decision,
                item.version,
                item.memory,
                item.error and item.error["message"],
            )
            for item in result.results
        ),
    )
    for item in result.results:
        if item.conflict_id is not None:
            click.echo(f"waits for a person: emendo conflicts show {item.conflict_id}")
    _print_advice(result)
    _print_account(result)


def _print_plan(result: JobResult) -> None:
    print_table(
        f"job {result.job_id}: {result.status}, a dry run: nothing was changed",
        ("event", "memory", "was", "becomes", "fallback", "error"),
        (
            (
                item.decision,
                item.memory_id,
                item.previous_memory,
                item.memory,
                item.fallback,
                item.error and item.error["message"],
            )
            for item in result.results
        ),
    )
    _print_advice(result)
    _print_account(result)


def _print_advice(result: JobResult) -> None:
    """What to do about each error, said once however many items met it; below the table, where it is not folded."""
    errors = [error for item in result.results if (error := item.error)]
    for line in dict.fromkeys(f"{error['code']}: {error['suggestion']}" for error in errors if error.get("suggestion")):
        click.echo(line)


def _print_account(result: JobResult) -> None:
    """What inference cost, and whether it could be done."""
    used = result.usage
    if used is not None:
        click.echo(
            f"chat: {used.chat_requests} requests, {used.prompt_tokens} + {used.completion_tokens} tokens; "
            f"embedding: {used.embedding_requests} requests, {used.embedding_tokens} tokens"
        )
    if result.degraded_reason:
        click.echo(f"degraded: {result.degraded_reason}")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
