"""The dialect of Emendo's own surface, `/api/v1`."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from emendo_ops.conformance.connection import Answer
from emendo_ops.conformance.dialect import Change, Dialect, Record, Write, refusal, text_or_none

_MEMORIES, _JOBS = "/api/v1/memories", "/api/v1/jobs"
_OVER = ("succeeded", "partially_succeeded", "failed", "cancelled")


class Native(Dialect):
    """`/api/v1`: each write is a job."""

    greeting = f"{_MEMORIES}?user_id=conformance&limit=1"

    async def begin_add(self, text: str, user_id: str, key: str | None = None) -> Write:
        """See the base class."""
        body = {"messages": text, "user_id": user_id, "infer": False}
        headers = {"Idempotency_Key": f'"{key}"'} if key else {}
        return _begun(await self.connection.send("POST", _MEMORIES, body, **headers))

    async def begin_update(self, memory_id: str, text: str | None = None, metadata: Any = None) -> Write:
        """See the base class."""
        body = {name: value for name, value in (("text", text), ("metadata", metadata)) if value is not None}
        return _begun(await self.connection.send("PATCH", _memory(memory_id), body))

    async def begin_delete(self, memory_id: str, *, for_good: bool = False) -> Write:
        """See the base class."""
        return _begun(await self.connection.send("DELETE", _memory(memory_id) + ("?hard=true" if for_good else "")))

    async def look(self, write: Write) -> Write | None:
        """See the base class."""
        answer = await self.connection.send("GET", write.job)
        if not answer.shows():
            return None
        state = answer.fields()
        return replace(write, **_ending(answer)) if state.get("status") in _OVER else write

    async def read(self, memory_id: str) -> Record | None:
        """See the base class."""
        answer = await self.connection.send("GET", _memory(memory_id))
        if not answer.shows():
            return None
        found = answer.fields()
        return Record(str(found.get("memory")), found.get("metadata") or {}, found.get("version"))

    async def texts(self, user_id: str) -> dict[str, str]:
        """See the base class."""
        answer = await self.connection.send("GET", f"{_MEMORIES}?user_id={quote(user_id)}&limit=100")
        if not answer.is_success:
            raise answer.unexpected()
        return {str(each.get("id")): str(each.get("memory")) for each in answer.items("results")}

    async def history(self, memory_id: str) -> list[Change]:
        """See the base class."""
        answer = await self.connection.send("GET", f"{_memory(memory_id)}/history")
        if not answer.shows():
            return []
        return [
            Change(
                str(each.get("event")),
                text_or_none(each.get("old_memory")),
                text_or_none(each.get("new_memory")),
                each.get("version"),
            )
            for each in answer.items("results")
        ]


def _memory(memory_id: str) -> str:
    return f"{_MEMORIES}/{quote(memory_id, safe='')}"


def _begun(answer: Answer) -> Write:
    if answer.status == HTTPStatus.ACCEPTED:
        return Write(job=f"{_JOBS}/{quote(str(answer.fields().get('job_id')), safe='')}")
    return Write(**_ending(answer)) if answer.is_success else refusal(answer)


def _ending(answer: Answer) -> dict[str, Any]:
    """The fields of a write that is over."""
    results = answer.items("results")
    memory_id = str(results[0].get("memory_id") or "") if results else ""
    return {"job": "", "succeeded": answer.fields().get("status") == "succeeded", "memory_id": memory_id}
