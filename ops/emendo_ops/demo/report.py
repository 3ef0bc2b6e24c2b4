"""The demo's results as one JSON document (`emendo demo --json`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emendo_client import JobInfo
from emendo_config.embedding_space import EmbeddingSpace
from emendo_ops.demo.checks import Checks
from emendo_ops.demo.throughput import ThroughputSample


def document(
    space: EmbeddingSpace, jobs: Sequence[JobInfo], checks: Checks, throughput: ThroughputSample, kept: Path | None
) -> dict[str, Any]:
    """The whole demo as plain JSON values.

    Args:
        space: the embedding space of the sample conversations.
        jobs: the jobs of the sample conversations.
        checks: the claims of both parts.
        throughput: the measurement.
        kept: the data's directory, if it was kept.
    """
    return {
        "embedder": {"provider": space.provider, "model": space.model, "dimensions": space.dimensions},
        "jobs": [job.model_dump(mode="json") for job in jobs],
        "checks": {"held": checks.held, "failed": checks.failed},
        "throughput": {**asdict(throughput), "updates_per_second": throughput.rate},
        "data": None if kept is None else str(kept),
    }
