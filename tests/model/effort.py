"""How much hypothesis does: little by default, much with EMENDO_HYPOTHESIS_PROFILE=deep."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

DEEP = os.environ.get("EMENDO_HYPOTHESIS_PROFILE", "") == "deep"
# Seconds one test may take; by default most of it is for making a failure small.
LIMIT = 7_200 if DEEP else 1_200


def effort(examples: int, *, deep: int, **more: Any) -> settings:
    """Settings with so many examples; a failure prints the blob that repeats it."""
    return settings(
        max_examples=deep if DEEP else examples,
        deadline=None,  # the machine is shared, and Redis is real
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
        **more,
    )
