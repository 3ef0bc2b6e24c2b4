"""The status of each error; `Retry-After` is there where another attempt may help, and nowhere else."""

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
        (errors.RateLimitError("slowly", error_code=ErrorCode.TOO_MANY_REQUESTS, retry_after=0.0005), 429, b"1"),
        (errors.RateLimitError("slowly", error_code=ErrorCode.TOO_MANY_REQUESTS, retry_after=9e9), 429, b"3600"),
        (errors.RateLimitError("slowly", error_code=ErrorCode.TOO_MANY_REQUESTS), 429, b"5"),
        (errors.TransientError("slow", error_code=ErrorCode.REQUEST_TIMEOUT), 504, b"2"),
        (errors.RateLimitError("away", error_code=ErrorCode.NOT_OFFERED, retry_after=7.2), 501, None),
        (errors.ValidationError("wrong"), 400, None),
    ],
)
def test_retry_after(error, status, seconds):
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers).get(b"retry-after")) == (status, seconds)


@pytest.mark.parametrize(
    ("code", "status"),
    {
        "BODY_TOO_LARGE": 413,
        "BODY_TOO_SLOW": 408,
        "EMBEDDING_TOO_LONG": 400,
        "HEAD_TOO_LARGE": 431,
        "HOST_REFUSED": 400,
        "IDEMPOTENCY_KEY_REUSED": 422,
        "KEY_REFUSED": 401,
        "KEY_SCOPE": 403,
        "METHOD_NOT_ALLOWED": 405,
        "NOT_OFFERED": 501,
        "REQUEST_TIMEOUT": 504,
        "TOO_MANY_FAILED_LOGINS": 429,
        "TOO_MANY_REQUESTS": 429,
        "QUOTA_EXCEEDED": 429,
        "UNSUPPORTED_MEDIA_TYPE": 415,
        "VERSION_MISMATCH": 412,
    }.items(),
)
@pytest.mark.parametrize("kind", [errors.EmendoError, errors.ConflictError, errors.NetworkError])
def test_a_code_has_a_status_whatever_the_errors_class(kind, code, status):
    problem = problem_of(kind("x", error_code=code))
    assert (problem.status, problem.code) == (status, code)
    assert (b"www-authenticate" in dict(problem.headers)) is (status == 401)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.ValidationError, 400),
        (errors.NotFoundError, 404),
        (errors.MemoryNotFoundError, 404),
        (errors.ConflictError, 409),
        (errors.JobError, 409),
        (errors.AuthenticationError, 502),
        (errors.EmbeddingError, 502),
        (errors.InferenceError, 502),
        (errors.TransientError, 503),
        (errors.VectorStoreError, 503),
        (errors.EmendoError, 500),
    ],
)
def test_an_error_of_another_code_has_the_status_of_its_class(kind, status):
    problem = problem_of(kind("x", error_code="A_LATER_RELEASES"))
    assert (problem.status, problem.code) == (status, "UNEXPECTED")
