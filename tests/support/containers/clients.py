"""Applications in a container of their own: `clients.py story KEY`, `clients.py storm PROJECT` and so on."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

from emendo_client import MemoryClient
from emendo_client.testing.openai_server.remote import RemoteOpenAIServer
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect

WAIT = 100.0
GATEWAY = "http://gateway:8080/api/v1/memories"
STORM = 300
SLOW = 3_000.0  # milliseconds of the provider for each answer, so that a kill and a stop meet jobs under way


def story(key: str) -> None:
    """Each kind of write, a search and a history, through the Python client and through the gateway."""
    with MemoryClient() as client:
        added = client.add("I dislike seafood.", user_id="ana", infer=False).wait(WAIT)
        memory_id = added.results[0].memory_id
        updated = client.update(memory_id, "I enjoy seafood, especially sushi.", {"topic": "food"}).wait(WAIT)
        assert (updated.status, updated.results[0].version) == ("succeeded", 2), updated
        assert client.search("I enjoy seafood, especially sushi.", user_id="ana")[0].id == memory_id
        assert [entry.event for entry in client.history(memory_id)] == ["ADD", "UPDATE"]
        assert client.delete(memory_id).wait(WAIT).status == "succeeded"
        assert client.search("seafood", user_id="ana") == []
        assert client.restore(memory_id, version=1).wait(WAIT).results[0].version == 4
        many = client.batch_update({"memory_id": memory_id, "metadata": {"seen": number}} for number in range(50))
        assert many.wait(WAIT).status == "succeeded"
        assert client.get(memory_id).metadata["seen"] == 49
    status, added = _call(key, body={"messages": "I live in Oslo.", "user_id": "ben", "infer": False})
    assert (status, added["status"]) == (200, "succeeded"), added
    path = f"/{added['results'][0]['memory_id']}"
    change = {"text": "I live in Bergen."}
    assert _call(key, path, "PATCH", change, If_Match='"1"')[1]["results"][0]["version"] == 2
    assert _call(key, path, "PATCH", change, If_Match='"1"')[0] == 412
    _, found = _call(key, "/search", body={"query": "I live in Bergen.", "user_id": "ben"})
    assert [hit["memory"] for hit in found["results"]] == ["I live in Bergen."]
    assert _call("em_nobody", "/search", body={"query": "Bergen", "user_id": "ben"})[0] == 401


def storm(project: str) -> None:
    """Has many jobs accepted, and returns while the provider is asked for the first of them."""
    provider = RemoteOpenAIServer("http://openai:8000/v1")
    provider.set_latency(SLOW)
    provider.clear_requests()
    with MemoryClient(project=project) as client:
        for number in range(STORM):
            client.add(f"I have seen bird {number}.", user_id="ana", infer=False)
    deadline = time.monotonic() + WAIT
    while not provider.requests(texts=False):
        assert time.monotonic() < deadline, "no worker has begun"
        time.sleep(0.05)


def states(project: str) -> None:
    """Prints how many of the project's jobs are in each state."""
    with MemoryClient(project=project) as client:
        print(json.dumps(Counter(job.status for job in client.jobs(limit=2 * STORM))))


def left_behind(_: str) -> None:
    """Prints the locks that workers have taken and not given back. It takes the rights of a worker."""
    settings = Settings()
    keys = Keys(settings.key_prefix)
    with connect(settings.redis_url, settings) as connection:
        taken = [connection.scan_iter(f"{keys.prefix}{kind}:*") for kind in ("lock", "scope-lock")]
        print(sorted(key.decode() for found in taken for key in found))


def finished(project: str) -> None:
    """Waits until each job of the storm has had its effect, and had it once."""
    RemoteOpenAIServer("http://openai:8000/v1").set_latency(0)
    with MemoryClient(project=project) as client:
        for job in client.jobs(limit=2 * STORM):
            result = client.job(job.job_id).wait(WAIT)
            assert (result.status, len(result.results)) == ("succeeded", 1), result
        texts = Counter(memory.memory for memory in client.iter_all(user_id="ana"))
        assert texts == Counter(f"I have seen bird {number}." for number in range(STORM))


def _call(key: str, path: str = "", method: str = "POST", body: Any = None, **fields: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Prefer": "wait=60"}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    request = urllib.request.Request(GATEWAY + path, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


if __name__ == "__main__":
    {each.__name__: each for each in (story, storm, states, left_behind, finished)}[sys.argv[1]](sys.argv[2])
