"""The dialect of mem0's hosted API, which its official clients speak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from emendo_ops.conformance.connection import Answer
from emendo_ops.conformance.dialect import Change, Dialect, Record, Write, refusal, text_or_none

_UNDER_WAY = ("PENDING", "RUNNING")


class Mem0(Dialect):
    """mem0's paths: a write answers when it is done, or with an event."""

    greeting = "/v1/ping/"

    async def begin_add(self, text: str, user_id: str, key: str | None = None) -> Write:
        """See the base class."""
        body = {"messages": [{"role": "user", "content": text}], "user_id": user_id, "infer": False}
        headers = {"Idempotency_Key": key} if key else {}
        return _begun(await self.connection.send("POST", "/v3/memories/add/", body, **headers))

    async def begin_update(self, memory_id: str, text: str | None = None, metadata: Any = None) -> Write:
        """See the base class."""
        body = {name: value for name, value in (("text", text), ("metadata", metadata)) if value is not None}
        return _begun(await self.connection.send("PUT", _memory(memory_id), body))

    async def begin_delete(self, memory_id: str, *, for_good: bool = False) -> Write:  # noqa: ARG002  # one kind only
        """See the base class."""
        return _begun(await self.connection.send("DELETE", _memory(memory_id)))

    async def look(self, write: Write) -> Write | None:
        """See the base class."""
        answer = await self.connection.send("GET", write.job)
        if not answer.shows():
            return None
        status = answer.fields().get("status")
        if status in _UNDER_WAY:
            return write
        return replace(write, job="", succeeded=status == "SUCCEEDED", memory_id=_first_id(answer))

    async def read(self, memory_id: str) -> Record | None:
        """See the base class."""
        answer = await self.connection.send("GET", _memory(memory_id))
        if not answer.shows() or answer.body is None:
            return None
        found = answer.fields()
        return Record(str(found.get("memory")), found.get("metadata") or {})

    async def texts(self, user_id: str) -> dict[str, str]:
        """See the base class."""
        body = {"filters": {"user_id": user_id}}
        answer = await self.connection.send("POST", "/v3/memories/?page=1&page_size=100", body)
        if not answer.is_success:
            raise answer.unexpected()
        return {str(each.get("id")): str(each.get("memory")) for each in answer.items("results")}

    async def history(self, memory_id: str) -> list[Change]:
        """See the base class."""
        answer = await self.connection.send("GET", f"{_memory(memory_id)}history/")
        if not answer.shows():
            return []
        changes = [
            Change(str(each.get("event")), text_or_none(each.get("old_memory")), text_or_none(each.get("new_memory")))
            for each in answer.items("results")
        ]
        # The dialect does not say which end is the newest.
        is_newest_first = bool(changes) and changes[-1].event == "ADD" and changes[0].event != "ADD"
        return changes[::-1] if is_newest_first else changes


def _memory(memory_id: str) -> str:
    return f"/v1/memories/{quote(memory_id, safe='')}/"


def _begun(answer: Answer) -> Write:
    body = answer.body if isinstance(answer.body, dict) else {}
    event = body.get("event_id")
    # A write that outlasts the request has an event, also in an answer of 504.
    if event and (body.get("status") in _UNDER_WAY or not (answer.is_success or answer.status < 500)):  # noqa: PLR2004
        return Write(job=f"/v1/event/{quote(str(event), safe='')}/")
    if not answer.is_success:
        return refusal(answer)
    return Write(succeeded=body.get("status", "SUCCEEDED") == "SUCCEEDED", memory_id=_first_id(answer))


def _first_id(answer: Answer) -> str:
    results = answer.fields().get("results")
    first = results[0] if isinstance(results, list) and results else {}
    return str(first.get("id") or "") if isinstance(first, dict) else ""
