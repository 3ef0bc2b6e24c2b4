"""The demo's first part: sample conversations and corrections go through a whole stack."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from emendo_client import Job, JobResult, JobStatus, MemoryClient
from emendo_ops.demo import over_http
from emendo_ops.demo.checks import Checks
from emendo_ops.demo.sample import Line, read_sample

_WAIT = 120.0
QUESTION = "Which fish dishes does she love?"


@dataclass(slots=True)
class _Done:
    line: Line
    job: Job
    result: JobResult


def tell(client: MemoryClient, stack: dict[str, Any], console: Console, checks: Checks) -> None:
    """Adds, corrects, deletes and restores the sample's memories, and shows the results.

    Args:
        client: a client of the running stack.
        stack: the document of its ready file.
        console: the output.
        checks: receives the claims.
    """
    lines = read_sample()
    adds = _carry_out(client, [line for line in lines if line.op == "add"], {}, console)
    ids = {done.line.key: [item.memory_id for item in done.result.results] for done in adds}
    done = list(adds)
    for op in ("update", "delete", "restore"):
        done += _carry_out(client, [line for line in lines if line.op == op], ids, console)
    _print_jobs(done, console)
    for each in done:
        checks.that(each.result.status == JobStatus.SUCCEEDED, f"{each.line.op} {each.line.key or each.line.target}")
    for each in done:
        if each.line.op == "update" and each.line.text:
            memory = client.get(ids[each.line.target][each.line.index])
            checks.that(memory.memory == each.line.text, f"{each.line.target} has its corrected text")
    _show_history(client, ids["seafood"][0], console, checks)
    _show_search(client, ids["seafood"][0], console, checks)
    over_http.show(stack, QUESTION, ids["seafood"][0], console, checks)
    _show_deleted(client, lines, ids, checks)
    _check_flower(stack, done, console, checks)


def _carry_out(client: MemoryClient, lines: list[Line], ids: dict[str, list[str]], console: Console) -> list[_Done]:
    """Enqueues all lines, then waits for all of their jobs."""
    jobs = [(line, _enqueue(client, line, ids)) for line in lines]
    title = f"{len(lines)} {lines[0].op}s"
    waited = track(jobs, description=f"{title:<12}", console=console, disable=not console.is_terminal)
    return [_Done(line, job, job.wait(_WAIT)) for line, job in waited]


def _enqueue(client: MemoryClient, line: Line, ids: dict[str, list[str]]) -> Job:
    if line.op == "add":
        return client.add(line.messages, line.user_id, line.agent_id, metadata=line.metadata, infer=False)
    memory_id = ids[line.target][line.index]
    if line.op == "update":
        return client.update(memory_id, line.text, line.metadata)
    return client.delete(memory_id) if line.op == "delete" else client.restore(memory_id)


def _print_jobs(done: list[_Done], console: Console) -> None:
    table = Table(title="jobs", title_justify="left")
    for column in ("job", "kind", "of", "state", "attempts", "ms", "now"):
        table.add_column(column, no_wrap=column != "now")
    for each in done:
        item = each.result.results[0]
        finished = each.result.finished_at or each.result.submitted_at
        took = (finished - each.result.submitted_at).total_seconds() * 1000
        text = (item.memory or "").replace("\n", " ")
        table.add_row(
            each.job.id[:8],
            each.line.op,
            each.line.key or each.line.target,
            each.result.status,
            str(each.result.attempts),
            f"{took:.0f}",
            text[:60] + ("…" if len(text) > 60 else ""),  # noqa: PLR2004  # fits a terminal
        )
    console.print(table)


def _show_history(client: MemoryClient, memory_id: str, console: Console, checks: Checks) -> None:
    entries = client.history(memory_id)
    table = Table(title=f"history of memory {memory_id}", title_justify="left")
    for column in ("version", "event", "old text", "new text"):
        table.add_column(column)
    for entry in entries:
        table.add_row(str(entry.version), entry.event, entry.old_memory or "", entry.new_memory or "")
    console.print(table)
    checks.that([entry.version for entry in entries] == [1, 2], "the history has versions 1 and 2")
    checks.that("dislike" in (entries[-1].old_memory or ""), "the history keeps the old text")
    checks.that(entries[-1].new_memory == client.get(memory_id).memory, "history and memory agree")


def _show_search(client: MemoryClient, memory_id: str, console: Console, checks: Checks) -> None:
    hits = client.search(QUESTION, user_id="ana", limit=3)
    table = Table(title=f"search for “{QUESTION}” among ana's memories", title_justify="left")
    table.add_column("score")
    table.add_column("memory")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", hit.memory)
    console.print(table)
    checks.that(bool(hits) and hits[0].id == memory_id, "the search finds the corrected fact first")
    others = client.search(QUESTION, user_id="ben", limit=50)
    checks.that(bool(others) and {hit.user_id for hit in others} == {"ben"}, "ben's search shows ben's memories only")


def _show_deleted(client: MemoryClient, lines: list[Line], ids: dict[str, list[str]], checks: Checks) -> None:
    restored = {line.target for line in lines if line.op == "restore"}
    for line in lines:
        if line.op != "delete":
            continue
        memory = client.get(ids[line.target][line.index], include_deleted=True)
        checks.that(memory.is_deleted == (line.target not in restored), f"{line.target} is deleted unless restored")


def _check_flower(stack: dict[str, Any], done: list[_Done], console: Console, checks: Checks) -> None:
    """Checks that Flower lists each job under its id and name. Events reach Flower a moment after the jobs end."""
    wanted = {each.job.id: f"emendo.{each.line.op}" for each in done}
    deadline = time.monotonic() + _WAIT
    listed: dict[str, str] = {}
    while time.monotonic() < deadline and wanted.items() - listed.items():
        tasks = _flower_tasks(stack)
        listed = {uuid: str(task.get("name")) for uuid, task in tasks.items() if uuid in wanted}
        time.sleep(0.2)
    checks.that(listed == wanted, f"Flower lists {len(wanted)} jobs by their own ids and names (it has {len(listed)})")
    # No address, because this Flower stops before anyone could open it.
    console.print(f"Flower listed {len(listed)} jobs by id and name; with emendo up you can watch it")


def _flower_tasks(stack: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{stack['flower_url']}/api/tasks?limit=5000")  # noqa: S310  # loopback
    login = f"{stack['flower_user']}:{stack['flower_password']}".encode()
    request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        tasks: dict[str, Any] = json.load(answer)
        return tasks
