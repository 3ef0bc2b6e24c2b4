"""The progress of a job, which for a re-embedding comes from the state of the re-embedding."""

from __future__ import annotations

from emendo_client.exchanges.exchange import Exchange
from emendo_client.exchanges.jobs import get_document
from emendo_client.exchanges.reembedding.status import migration
from emendo_client.models import JobStatus, Progress
from emendo_config import Keys


def get(keys: Keys, project: str, job_id: str) -> Exchange[Progress]:
    """The progress of a job in items; a re-embedding also reports phase, rate and remaining time."""
    document = yield from get_document(keys, project, job_id)
    status, total = JobStatus(document["status"]), document["items"]
    if document["kind"] == "reembed":
        state = yield from migration(keys, grace=0)
        if state is not None and state.job_id == job_id:
            found = state.model_dump(include={"done", "total", "phase", "failed", "rate", "eta"})
            return Progress(status=status, **found)
    done = total if status.is_final else document["done"]
    return Progress(done=done, total=total, status=status)
