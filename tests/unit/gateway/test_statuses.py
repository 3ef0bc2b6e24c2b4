"""`Retry-After` is there where another attempt may help, and nowhere else."""

from __future__ import annotations

import pytest

from emendo_client import errors
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError
from emendo_gateway.problems.problem import problem_of


@pytest.mark.parametrize(
    ("error", "status", "seconds"),
    [
        (ConfigurationError("the alias names no space"), 503, None),
        (errors.TransientError("busy", error_code=ErrorCode.OVERLOADED), 503, b"2"),
        (errors.NetworkError("away"), 503, b"2"),
        (errors.RateLimitError("slowly", error_code=ErrorCode.TOO_MANY_REQUESTS, retry_after=7.2), 429, b"8"),
        (errors.ValidationError("wrong"), 400, None),
    ],
)
def test_retry_after(error, status, seconds):
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers).get(b"retry-after")) == (status, seconds)
