"""The JSON documents of one outcome that `finish.lua` reads. Pure."""

from __future__ import annotations

from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_config.json_codec import compact_json
from emendo_workers.jobs.outcomes import Outcome
from emendo_workers.jobs.work import Entry


def finish_documents(outcome: Outcome) -> tuple[str, str]:
    """The outcome, without fields that have nothing to say; and the results, which the script stores as they are."""
    work = outcome.work
    settled = [item for item in outcome.results if item is not None]
    document: dict[str, Any] = {
        "job": work.record_id,
        "entry": work.entry,
        "attempt": work.attempt,
        "status": outcome.status.value,
    }
    if outcome.status is JobStatus.RETRYING:
        document["due"] = int(outcome.delay * 1000)
        if settled:
            document["settled"] = compact_json(outcome.results)
    if work.is_chunk:
        failed = len(outcome.failures)
        document |= {"succeeded": len(settled) - failed, "failed": failed}
    is_dead = outcome.is_dead
    if outcome.feed:
        document |= {"project": work.project, "of": work.job_id}
    if is_dead:
        document["project"] = work.project
    if memories := outcome.memories:
        document["memories"] = memories
    optional = {
        "feed": outcome.feed,
        "disputed": [item["conflict_id"] for item in settled if "conflict_id" in item],
        "resolved": [item["resolved"] for item in settled if "resolved" in item],
        "dead": is_dead,
        "refund": outcome.refund,
        "error": compact_json(outcome.error.to_dict()) if outcome.error is not None else "",
        "shard": outcome.shard,
        "behind": outcome.behind,
        "payload": outcome.payload,
    }
    document |= {name: value for name, value in optional.items() if value}
    return compact_json(document), compact_json(settled)


def waiting_document(entry: Entry, attempt: str, error: EmendoError, due: int) -> str:
    """The outcome of an attempt that could not read its job: it waits for another worker, as it is.

    Args:
        entry: the job's.
        attempt: the attempt's token.
        error: why it waits.
        due: milliseconds until the next attempt.
    """
    document = {
        "job": entry.record_id,
        "entry": entry.id,
        "attempt": attempt,
        "status": JobStatus.RETRYING.value,
        "due": due,
        "refund": True,
        "error": compact_json(error.to_dict()),
    }
    return compact_json(document)
