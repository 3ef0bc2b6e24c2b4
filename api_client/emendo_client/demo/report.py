"""What the demo found, as one JSON document (`emendo demo --json`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emendo_client import JobInfo
from emendo_client.demo.checks import Checks
from emendo_client.demo.throughput import Reading
from emendo_config.spaces import EmbeddingSpace


def document(
    space: EmbeddingSpace, jobs: Sequence[JobInfo], checks: Checks, reading: Reading, kept: Path | None
) -> dict[str, Any]:
    """The whole demo as plain JSON values.

    Args:
        space: what the sample was embedded with.
        jobs: the sample's jobs.
        checks: what was claimed in both parts.
        reading: the throughput.
        kept: where the data lies, when it was kept.
    """
    return {
        "embedder": {"provider": space.provider, "model": space.model, "dimensions": space.dimensions},
        "jobs": [job.model_dump(mode="json") for job in jobs],
        "checks": {"held": checks.held, "failed": checks.failed},
        "throughput": {**asdict(reading), "updates_per_second": reading.rate},
        "data": None if kept is None else str(kept),
    }
