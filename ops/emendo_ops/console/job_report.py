"""An accepted job and its outcome, as commands that write print them."""

from __future__ import annotations

from emendo_client import Job, JobResult, JobStatus
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.output import echo, print_json, print_table
from emendo_ops.console.progress import interruptible
from emendo_ops.console.words import error_in_a_result, for_the_command_line


def report(job: Job, *, wait: bool, timeout: float, as_json: bool, dry_run: bool = False) -> int:
    """Prints the job's id, or its outcome if `wait`.

    Args:
        timeout: seconds to wait.
        dry_run: the outcome is a plan.

    Returns:
        The exit code.

    Raises:
        JobTimeoutError: no final state in time; the job goes on.
    """
    if not wait:
        if as_json:
            print_json({"job_id": job.id, "status": job.status().value})
        else:
            echo(f"accepted: job {job.id}")
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
                error_in_a_result(item.error),
            )
            for item in result.results
        ),
    )
    for item in result.results:
        if item.conflict_id is not None:
            echo(f"waits for a person: emendo conflicts show {item.conflict_id}")
    _print_advice(result)
    _print_left_out(result)
    _print_cost(result)


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
                error_in_a_result(item.error),
            )
            for item in result.results
        ),
    )
    _print_advice(result)
    _print_left_out(result)
    _print_cost(result)


def _print_advice(result: JobResult) -> None:
    """Prints each error's suggestion once, below the table, where the line is not folded."""
    errors = [error for item in result.results if (error := item.error)]
    for line in dict.fromkeys(f"{error['code']}: {error['suggestion']}" for error in errors if error.get("suggestion")):
        echo(for_the_command_line(line))


def _print_left_out(result: JobResult) -> None:
    """Prints what of the messages was no text, as `image: 2, empty: 1`."""
    if result.left_out:
        echo(f"left out of the messages: {', '.join(f'{kind}: {n}' for kind, n in result.left_out.items())}")


def _print_cost(result: JobResult) -> None:
    """Prints the requests and tokens that inference used, and why it was skipped if it was."""
    used = result.usage
    if used is not None:
        echo(
            f"chat: {used.chat_requests} requests, {used.prompt_tokens} + {used.completion_tokens} tokens; "
            f"embedding: {used.embedding_requests} requests, {used.embedding_tokens} tokens"
        )
    if result.degraded_reason:
        echo(f"degraded: {result.degraded_reason}")
