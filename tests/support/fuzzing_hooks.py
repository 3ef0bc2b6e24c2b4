"""A check that schemathesis loads beside its own; see fuzzing.py."""

from __future__ import annotations

from typing import Any

import schemathesis

FAILED = 500
# CONFIGURATION: hybrid search is there only when the installation indexes words. NOT_OFFERED and REQUEST_TIMEOUT: what
# mem0's surface does not have, and a write that was not over in time.
NO_FAILURES = ("CONFIGURATION", "NOT_OFFERED", "REQUEST_TIMEOUT")


@schemathesis.check
def no_failure(ctx: Any, response: Any, case: Any) -> None:
    """No answer is a failure of the gateway, and each error is told as a problem."""
    if response.status_code >= FAILED and case.operation.path != "/health":
        assert response.json()["code"] in NO_FAILURES, response.text
    if response.status_code >= 400 and case.operation.path.startswith(("/v1/", "/v2/", "/v3/")):
        assert response.headers["content-type"] == ["application/json"]
        assert response.json()["detail"]
        assert "Traceback" not in response.text
    if response.status_code >= 400 and case.operation.path.startswith("/api/v1/"):
        document = response.json()
        assert document["status"] == response.status_code
        assert document["request_id"] == response.headers["x-request-id"][0]
        assert "Traceback" not in response.text
