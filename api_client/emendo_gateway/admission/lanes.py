"""How many requests of each kind are worked at once, and how long one may take.

A request gets a place when its body has arrived, and gives it back when its answer begins. So a client that sends or
reads slowly holds no place. Streams and waits keep theirs to the end, in a lane of their own, or until their client
goes away. So `shares` keeps one project from taking all of them.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from emendo_client.errors import TransientError
from emendo_config.error_codes import ErrorCode
from emendo_config.gateway_settings import GatewaySettings
from emendo_gateway.admission.asgi import App, Message, Receive, Scope, Send
from emendo_gateway.admission.bodies import Bodies, ClientGone
from emendo_gateway.admission.kinds import Kind, kind_of
from emendo_gateway.admission.presence import run_while_present
from emendo_gateway.admission.shares import Neighbours, Shares
from emendo_gateway.callers import project_of, state_of

# Requests that may wait for a place, for each place there is.
_QUEUED_PER_PLACE = 4


class Lane:
    """Places for requests of one kind."""

    def __init__(self, name: str, places: int, longest_wait: float) -> None:
        self.name = name
        self._places = places
        self._longest_wait = longest_wait
        self._free = asyncio.Semaphore(places)
        self._queued = 0

    async def take(self) -> None:
        """Takes a place.

        Raises:
            TransientError: (OVERLOADED) none became free in time, or too many wait already.
        """
        if not self._free.locked():
            await self._free.acquire()  # which does not wait then
            return
        if self._queued >= self._places * _QUEUED_PER_PLACE:
            raise self._overloaded()
        self._queued += 1
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._free.acquire()
        except TimeoutError:
            raise self._overloaded() from None
        finally:
            self._queued -= 1

    async def look(self) -> None:
        """Waits until there is a place, and leaves it to others.

        Raises:
            TransientError: (OVERLOADED) see `take`.
        """
        if self._free.locked():
            await self.take()
            self.leave()

    def leave(self) -> None:
        """Gives a place back."""
        self._free.release()

    def _overloaded(self) -> TransientError:
        return TransientError(
            f"the gateway works on as many {self.name} as it takes",
            error_code=ErrorCode.OVERLOADED,
            suggestion="send it again in some seconds",
        )


class Lanes:
    """Lets requests through as places become free."""

    def __init__(self, app: App, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings
        self._neighbours = Neighbours()
        self._bodies = Bodies(settings, self._neighbours)
        self._waits = Shares(self._neighbours, "waits", max(1, settings.max_waits // 2))
        self._lanes = {
            kind: Lane(kind.value, places, settings.max_queue_seconds)
            for kind, places in (
                (Kind.READ, settings.max_reads),
                (Kind.WRITE, settings.max_writes),
                (Kind.WAIT, settings.max_waits),
            )
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        kind = kind_of(scope) if scope["type"] == "http" else Kind.HEALTH
        lane = self._lanes.get(kind)
        if lane is None:
            await self._app(scope, receive, send)
            return
        state, project, now = state_of(scope), project_of(scope), asyncio.get_running_loop().time()
        self._neighbours.note(project, now)
        try:
            with self._waits.one(project, now) if kind is Kind.WAIT else nullcontext():
                await lane.look()  # before the body is read
                state.body = await self._bodies.read(scope, receive)
                await self._work(lane, kind, scope, receive, send)
        except ClientGone:
            return
        finally:
            self._bodies.forget(project, state.body)

    async def _work(self, lane: Lane, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        await lane.take()
        holds = True

        def leave() -> None:
            nonlocal holds
            if holds:
                holds = False
                lane.leave()

        longest = self._settings.request_timeout + (self._settings.max_wait if kind is Kind.WAIT else 0)
        try:
            async with asyncio.timeout(longest) as deadline:

                async def sent(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        deadline.reschedule(None)  # from here on it is the client's time: see `connection`
                        if kind is not Kind.WAIT:
                            leave()
                    await send(message)

                if kind is Kind.WAIT:
                    await run_while_present(self._app, scope, receive, sent)
                else:
                    await self._app(scope, receive, sent)
        except TimeoutError:
            raise TransientError(
                f"the request took longer than {longest:g} s", error_code=ErrorCode.REQUEST_TIMEOUT
            ) from None
        finally:
            leave()
