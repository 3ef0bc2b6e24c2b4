"""Emendo's client: enqueue changes to long-term memories, follow the jobs, read and search the memories.

    from emendo_client import MemoryClient

    client = MemoryClient()
    job = client.add("I enjoy seafood, especially sushi.", user_id="alice")
    print(job.wait().results)

Importing this package is cheap; Celery, openai and numpy are loaded when they are first needed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emendo_client._async.client import AsyncMemoryClient
    from emendo_client._async.job import AsyncJob
    from emendo_client._sync.client import MemoryClient
    from emendo_client._sync.job import Job
    from emendo_client.errors import EmendoError
    from emendo_client.exchanges.diagnosis.models import Diagnosis, Finding
    from emendo_client.exchanges.health import CircuitBreaker, Health, InferenceUsage
    from emendo_client.exchanges.reembedding.models import Migration, MigrationPhase, ReembedPlan
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
        Owner,
        OwnerPage,
        Page,
        Progress,
        ProjectRules,
        SearchHit,
        Usage,
    )
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
    "Owner",
    "OwnerPage",
    "Page",
    "Progress",
    "ProjectRules",
    "ReembedPlan",
    "SearchHit",
    "Settings",
    "Usage",
]

# `python -m emendo_client.testing` puts the current folder first on Python's path: a redis.py there would be run.
if sys.argv[:1] == ["-m"] and "emendo_client.testing" in sys.orig_argv and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109
    del sys.path[0]

_HOMES = {
    "AsyncJob": "emendo_client._async.job",
    "AsyncMemoryClient": "emendo_client._async.client",
    "CircuitBreaker": "emendo_client.exchanges.health",
    "Diagnosis": "emendo_client.exchanges.diagnosis.models",
    "EmendoError": "emendo_client.errors",
    "Finding": "emendo_client.exchanges.diagnosis.models",
    "Health": "emendo_client.exchanges.health",
    "InferenceUsage": "emendo_client.exchanges.health",
    "Job": "emendo_client._sync.job",
    "MemoryClient": "emendo_client._sync.client",
    "Migration": "emendo_client.exchanges.reembedding.models",
    "MigrationPhase": "emendo_client.exchanges.reembedding.models",
    "ReembedPlan": "emendo_client.exchanges.reembedding.models",
    "Settings": "emendo_config",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "emendo_client.models")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
