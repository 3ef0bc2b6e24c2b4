"""The whole story of a client, to be told to whatever parts an installation is made of.

Both clients tell the same steps. The first line of each step's docstring stands on the page of compatibility.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ConflictError, MemoryNotFoundError
from emendo_client.testing import Fault, OpenAIServer
from emendo_client.testing.fixtures import settings_for
from emendo_config import Settings
from tests.support.inferring import Model, chat_at
from tests.support.patience import PATIENCE

# Items of a batch job, and of one of its chunks.
ITEMS, CHUNK = 48, 10


def settings_with(provider: OpenAIServer, **parts: str) -> Settings:
    """The settings that the story needs. The sweeper comes too late to hide a broker that wakes nobody."""
    return settings_for(
        base_url=provider.base_url,
        index_text=True,
        chunk_items=CHUNK,
        **chat_at(provider),
        sweep_interval=600.0,
        lease=900.0,
        **parts,
    )


class _Awaited:
    """A blocking client, or one of its jobs, whose calls are awaited like those of the asyncio client."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._blocking, name)
        if not callable(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            made = found(*args, **kwargs)
            return _Awaited(made) if hasattr(made, "cancel") else made

        return call


class _Teller:
    """One client in a project of its own, and the memory that its story is about."""

    def __init__(self, client: Any, provider: OpenAIServer) -> None:
        self.client = client
        self.provider = provider
        self.model = Model(provider)
        self.memory_id = ""

    async def done(self, job: Any) -> Any:
        """The result of a job that has to succeed."""
        return await (await job).wait(PATIENCE, raise_on_failure=True)


async def _adds(teller: _Teller) -> None:
    """Add a memory, and read it."""
    client = teller.client
    result = await teller.done(client.add("I dislike seafood.", "ana", infer=False))
    teller.memory_id = result.results[0].memory_id
    assert (await client.get(teller.memory_id)).memory == "I dislike seafood."


async def _updates(teller: _Teller) -> None:
    """Update its text, and its metadata with a strong update, which returns after the commit."""
    client = teller.client
    result = await teller.done(client.update(teller.memory_id, "I enjoy seafood. Table AB-1234."))
    assert [(item.event, item.version) for item in result.results] == [("UPDATE", 2)]
    await client.update(teller.memory_id, metadata={"topic": "food"}, consistency="strong")
    assert (await client.get(teller.memory_id)).metadata == {"topic": "food"}


async def _reads_the_history(teller: _Teller) -> None:
    """Read its history: each version once."""
    entries = await teller.client.history(teller.memory_id)
    assert [(entry.version, entry.event) for entry in entries] == [(1, "ADD"), (2, "UPDATE"), (3, "UPDATE")]


async def _searches(teller: _Teller) -> None:
    """Search by meaning, and by meaning and words together, with a filter."""
    client = teller.client
    await teller.done(client.add("The sea is wide.", "ana", infer=False))
    assert (await client.search("seafood", "ana"))[0].id == teller.memory_id
    assert (await client.search("AB-1234", "ana", mode="hybrid"))[0].id == teller.memory_id
    found = await client.search("sea", "ana", filters={"metadata": {"topic": "food"}})
    assert [hit.id for hit in found] == [teller.memory_id]


async def _repeats(teller: _Teller) -> None:
    """Send a request twice under one idempotency key: it has one effect."""
    client = teller.client
    first, again = [await client.add("I like tea.", "eva", infer=False, idempotency_key="request-1") for _ in range(2)]
    assert (first.id, again.is_repeat) == (again.id, True)
    await again.wait(PATIENCE, raise_on_failure=True)
    with pytest.raises(ConflictError):
        await client.add("I like coffee.", "eva", infer=False, idempotency_key="request-1")
    assert await client.count("eva") == 1


async def _sends_a_batch(teller: _Teller) -> None:
    """Add 48 memories with one batch job, and count and list them."""
    client = teller.client
    items = [{"messages": f"fact {number}", "user_id": "ben"} for number in range(ITEMS)]
    result = await teller.done(client.batch_add(items, infer=False))
    assert len(result.results) == await client.count("ben") == ITEMS
    page = await client.get_all("ben", limit=ITEMS)
    assert {memory.memory for memory in page.results} == {item["messages"] for item in items}


async def _deletes_and_restores(teller: _Teller) -> None:
    """Delete the memory, which no search finds then, and restore it."""
    client = teller.client
    await teller.done(client.delete(teller.memory_id))
    assert teller.memory_id not in [hit.id for hit in await client.search("seafood", "ana")]
    await teller.done(client.restore(teller.memory_id))
    assert (await client.get(teller.memory_id)).version == 5


async def _conflicts(teller: _Teller) -> None:
    """Be refused with an old `expected_version`, and let a person decide a conflict."""
    client, memory_id = teller.client, teller.memory_id
    job = await client.update(memory_id, "I hate seafood.", expected_version=1)
    refused = await job.wait(PATIENCE)
    assert (refused.status, refused.error["code"]) == ("failed", "VERSION_MISMATCH")
    await teller.done(client.update(memory_id, "I miss seafood.", expected_version=1, on_conflict="manual"))
    (conflict,) = await client.conflicts()
    await teller.done(client.resolve_conflict(conflict.id, "ours"))
    assert (await client.get(memory_id)).memory == "I miss seafood."
    assert await client.conflicts() == []


async def _infers_and_cancels(teller: _Teller) -> None:
    """Add a conversation, in which a chat model finds the facts, and cancel one that has not begun: it adds nothing."""
    client, begun, may_end = teller.client, threading.Event(), threading.Event()

    def hold(_: str) -> None:
        begun.set()
        may_end.wait(PATIENCE)

    teller.model.before = hold
    try:
        held = await client.add("I live in Porto.", "kim")
        assert begun.wait(PATIENCE)
        behind = await client.add("I live in Faro.", "kim")  # conversations of one user are worked one by one
        assert await behind.cancel()
    finally:
        may_end.set()
    assert [item.event for item in (await held.wait(PATIENCE, raise_on_failure=True)).results] == ["ADD"]
    assert await behind.status() == "cancelled"
    assert [memory.memory for memory in (await client.get_all("kim")).results] == ["I live in Porto."]


async def _replays(teller: _Teller) -> None:
    """Let a job fail for good, and replay the dead letter."""
    client = teller.client
    text = f"unbearable {uuid.uuid4().hex}"
    teller.provider.faults.add(Fault("bad_request", match=text))
    job = await client.add(text, "ana", infer=False)
    assert (await job.wait(PATIENCE)).status == "failed"
    assert [letter.job_id for letter in await client.dead_letters()] == [job.id]
    await teller.done(client.replay(job.id))
    assert await client.dead_letters() == []
    assert await client.count("ana") == 3


async def _erases(teller: _Teller) -> None:
    """Erase the memory, and then all of a user: nothing of the content is left."""
    client = teller.client
    await teller.done(client.delete(teller.memory_id, hard=True))
    assert {entry.new_memory for entry in await client.history(teller.memory_id)} == {None}
    with pytest.raises(MemoryNotFoundError):
        await client.get(teller.memory_id, include_deleted=True)
    await teller.done(client.erase_user("ben"))
    assert await client.count("ben") == 0


STEPS: tuple[Callable[[_Teller], Awaitable[None]], ...] = (
    _adds,
    _updates,
    _reads_the_history,
    _searches,
    _repeats,
    _sends_a_batch,
    _deletes_and_restores,
    _conflicts,
    _infers_and_cancels,
    _replays,
    _erases,
)


async def tell(settings: Settings, provider: OpenAIServer, workers: int = 1) -> None:
    """Tells the story with both clients, each in a project of its own.

    Args:
        settings: made by `settings_with`. A worker runs with them.
        provider: of these settings.
        workers: how many run.
    """
    with MemoryClient(settings, project="blocking") as client:
        await _tell(_Teller(_Awaited(client), provider), workers)
    async with AsyncMemoryClient(settings, project="asyncio") as other:
        await _tell(_Teller(other, provider), workers)


async def _tell(teller: _Teller, workers: int) -> None:
    for step in STEPS:
        await step(teller)
    health = await teller.client.health()
    assert (health.problem, health.workers, health.dead, health.worker_faults) == (None, workers, 0, {}), health


def tell_over_http(tenant: httpx.Client, workers: int = 1) -> None:
    """Over HTTP: add, update with `If-Match`, be refused with 412, search, follow a job's events, delete."""
    wait = {"Prefer": "wait=90"}
    body = {"messages": "I dislike seafood.", "user_id": "ana", "infer": False}
    added = tenant.post("/api/v1/memories", json=body, headers=wait)
    assert (added.status_code, added.json()["status"]) == (200, "succeeded"), added.text
    memory = f"/api/v1/memories/{added.json()['results'][0]['memory_id']}"
    tag = tenant.get(memory).headers["etag"]
    new = {"text": "I enjoy seafood."}
    assert tenant.patch(memory, json=new, headers={**wait, "If-Match": tag}).json()["status"] == "succeeded"
    assert tenant.patch(memory, json=new, headers={**wait, "If-Match": tag}).status_code == 412
    found = tenant.post("/api/v1/memories/search", json={"query": "seafood", "user_id": "ana"})
    assert [hit["memory"] for hit in found.json()["results"]] == ["I enjoy seafood."]
    items = [{"op": "add", "messages": f"fact {number}", "user_id": "ben"} for number in range(ITEMS)]
    job = tenant.post("/api/v1/batches", json={"items": items, "infer": False}).json()
    assert "event: ended" in tenant.get(f"{job['url']}/events").text
    assert tenant.delete(memory, headers=wait).json()["status"] == "succeeded"
    assert tenant.get(memory).status_code == 404
    health = tenant.get("/health")
    assert (health.status_code, health.json()["workers"]) == (200, workers), health.text
