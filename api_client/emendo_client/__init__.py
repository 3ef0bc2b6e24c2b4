"""Emendo's client: enqueue changes to long-term memories, follow the jobs, read and search the memories.

    from emendo_client import MemoryClient

    client = MemoryClient()
    job = client.add("I enjoy seafood, especially sushi.", user_id="alice")
    print(job.wait().results)

Importing this package is cheap; Celery, openai and numpy are loaded when they are first needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emendo_client.aio import AsyncMemoryClient
    from emendo_client.aio_job import AsyncJob
    from emendo_client.client import MemoryClient
    from emendo_client.diagnosis import Diagnosis, Finding
    from emendo_client.errors import EmendoError
    from emendo_client.health import CircuitBreaker, Health, InferenceUsage
    from emendo_client.job import Job
    from emendo_client.models import (
        Conflict,
        DeadLetter,
        DeadLetterProgress,
        Event,
        HistoryEntry,
        ItemResult,
        JobInfo,
        JobResult,
        JobStatus,
        Memory,
        Page,
        Progress,
        ProjectRules,
        SearchHit,
        Usage,
    )
    from emendo_client.reembedding.models import Migration, MigrationPhase, ReembedPlan
    from emendo_config import Settings

__all__ = [
    "AsyncJob",
    "AsyncMemoryClient",
    "CircuitBreaker",
    "Conflict",
    "DeadLetter",
    "DeadLetterProgress",
    "Diagnosis",
    "EmendoError",
    "Event",
    "Finding",
    "Health",
    "HistoryEntry",
    "InferenceUsage",
    "ItemResult",
    "Job",
    "JobInfo",
    "JobResult",
    "JobStatus",
    "Memory",
    "MemoryClient",
    "Migration",
    "MigrationPhase",
    "Page",
    "Progress",
    "ProjectRules",
    "ReembedPlan",
    "SearchHit",
    "Settings",
    "Usage",
]

_HOMES = {
    "AsyncJob": "emendo_client.aio_job",
    "AsyncMemoryClient": "emendo_client.aio",
    "CircuitBreaker": "emendo_client.health",
    "Diagnosis": "emendo_client.diagnosis",
    "EmendoError": "emendo_client.errors",
    "Finding": "emendo_client.diagnosis",
    "Health": "emendo_client.health",
    "InferenceUsage": "emendo_client.health",
    "Job": "emendo_client.job",
    "MemoryClient": "emendo_client.client",
    "Migration": "emendo_client.reembedding.models",
    "MigrationPhase": "emendo_client.reembedding.models",
    "ReembedPlan": "emendo_client.reembedding.models",
    "Settings": "emendo_config",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "emendo_client.models")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
