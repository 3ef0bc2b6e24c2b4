"""Jobs that workers submit themselves, through the same scripts as clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from emendo_client import writes
from emendo_client.batches import Append, BatchRequest
from emendo_client.steps import Steps, plane, run
from emendo_workers.services import Services

T = TypeVar("T")


def converse(services: Services, steps: Steps[T]) -> T:
    """Carries a client's conversation out over the worker's connections."""
    return run({"data": plane(services.data), "control": plane(services.control)}, steps)


def submit_batch(services: Services, request: BatchRequest, parts: Iterable[Append] | None = None) -> str:
    """Accepts a batch job, or the given parts of it, and rings; the job's id."""
    for part in request.appends(services.settings) if parts is None else parts:
        done = converse(services, writes.append(services.settings, services.keys, request, part))
        services.bell.ring_each(done.rings)
    return request.job_id
