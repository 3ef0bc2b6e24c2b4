"""Server-sent events of a job: its progress, until it ends.

An event's id is the state it tells. A client that comes back with `Last-Event-ID` gets the next state, not that one
again. Once the job has ended it gets 204, which ends its attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from emendo_client.errors import EmendoError
from emendo_client.models import Progress
from emendo_gateway.watching import Follower, Stopping

HEARTBEAT = 15.0  # seconds; proxies end connections that are silent for a minute
# Milliseconds until a client comes back to a gateway that was stopped.
_RETRY = 2_000
# One event, as a reader of the protocol gives it.
EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data", "id"],
    "properties": {
        "event": {"type": "string", "enum": ["progress", "ended"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
}


def event_id(state: Progress) -> str:
    """The id of the event that tells this state."""
    phase = f".{state.phase}.{state.failed}" if state.phase else ""
    return f"{state.status}.{state.done}{phase}"


async def events(
    following: AbstractAsyncContextManager[Follower], last: str | None, may_go_on: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """The events of a job, from the state behind `last` to the final one.

    Args:
        may_go_on: asked at every heartbeat; False ends the stream, and the client is told why when it comes back.
    """
    clock = asyncio.get_running_loop().time
    asked = clock()
    async with following as follower:
        while True:
            if clock() - asked >= HEARTBEAT:
                if not await may_go_on():
                    return
                asked = clock()
            try:
                async with asyncio.timeout(HEARTBEAT):
                    state = await follower.next()
            except TimeoutError:
                yield KEEPALIVE_COMMENT
                continue
            except (Stopping, EmendoError):  # the client comes back, and is told what is wrong then
                return
            told = event_id(state)
            if told != last:
                name = "ended" if state.status.is_final else "progress"
                yield format_sse_event(event=name, data_str=state.model_dump_json(), id=told, retry=_RETRY)
                last = told
            if state.status.is_final:
                return
