"""Notices when the client of a long request goes away, so that its place is free at once."""

from __future__ import annotations

import asyncio

from emendo_gateway.admission.asgi import App, Message, Receive, Scope, Send
from emendo_gateway.admission.bodies import ClientGone


async def run_while_present(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application as long as its client is there.

    Raises:
        ClientGone: the client went away before the answer was complete.
    """
    received: asyncio.Queue[Message] = asyncio.Queue()

    async def listen() -> None:
        while True:
            message = await receive()
            received.put_nowait(message)
            if message["type"] == "http.disconnect":  # also said once the answer is complete
                return

    is_complete = False

    async def noted(message: Message) -> None:
        nonlocal is_complete
        await send(message)
        is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    working = asyncio.ensure_future(app(scope, received.get, noted))
    listening = asyncio.ensure_future(listen())
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not is_complete:
            raise ClientGone
        await working
    finally:
        await _ended(listening)
        await _ended(working)


async def _ended(task: asyncio.Future[None]) -> None:
    """Cancels a task, and waits until it has ended."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # it is raised elsewhere, or nobody is there to be told
