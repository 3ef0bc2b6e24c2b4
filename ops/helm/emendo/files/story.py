"""`helm test`: the gateway is ready, and with a key a memory is written, found and erased.

Variables: GATEWAY (its address), SECONDS (the longest wait), API_KEY (of the scope write; optional). Standard library
only, so that it needs nothing but the image's Python.
"""

# ruff: noqa: INP001  # a script, not a package

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

GATEWAY, SECONDS = os.environ["GATEWAY"], float(os.environ.get("SECONDS", "60"))
KEY = os.environ.get("API_KEY", "").strip()
# The environment's proxy does not know the cluster's services.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method: str, path: str, body: object = None) -> tuple[int, dict]:
    """The status and the document of an answer."""
    headers = {"Content-Type": "application/json", "Prefer": f"wait={min(60, int(SECONDS))}"}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{GATEWAY}{path}", data, headers, method=method)  # noqa: S310  # http only
    try:
        with HTTP.open(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def require(holds: bool, claim: str, found: object) -> None:
    """Says that a claim holds, or ends."""
    if not holds:
        sys.exit(f"FAILED: {claim}: {json.dumps(found)}")
    print(f"ok: {claim}", flush=True)  # noqa: T201


def wait_until_healthy() -> dict:
    """The health once jobs are accepted and carried out."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            status, health = call("GET", "/health")
        except OSError as error:
            status, health = 0, {"problem": str(error)}
        if status == 200 or time.monotonic() > deadline:  # noqa: PLR2004
            require(status == 200, "jobs are accepted and carried out", health)  # noqa: PLR2004
            return health
        time.sleep(1)


def tell_story() -> None:
    """Writes a memory for a user of its own, finds it, and erases it."""
    user = f"helm-test-{uuid.uuid4()}"
    _, job = call("POST", "/api/v1/memories", {"messages": "I like rice.", "user_id": user, "infer": False})
    require(job.get("status") == "succeeded", "a memory is written", job)
    memory_id = job["results"][0]["memory_id"]
    try:
        status, found = call("POST", "/api/v1/memories/search", {"query": "rice", "user_id": user})
        ids = [each["id"] for each in found.get("results", [])]
        require(status == 200 and ids == [memory_id], "a search finds it", found)  # noqa: PLR2004
    finally:
        _, job = call("DELETE", f"/api/v1/memories/{memory_id}?hard=true")
    require(job.get("status") == "succeeded", "it is erased", job)


if __name__ == "__main__":
    print(f"{wait_until_healthy().get('workers')} workers", flush=True)  # noqa: T201
    if KEY:
        tell_story()
    else:
        print("no key is given (test.existingSecret), so no memory is written", flush=True)  # noqa: T201
