"""One listener for all waits and streams of a process: they share a connection, and the reads of their jobs.

A message tells a job's end at once. A job is read when Redis has confirmed that it is listened for. An end before that
is in the record, and a later one comes as a message. A message can be lost with its connection, so jobs are also read
again from time to time, all of them in one round trip.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from emendo_client.errors import EmendoError
from emendo_client.exchanges import progress
from emendo_client.exchanges.exchange import run_async
from emendo_client.exchanges.redis_errors import translate
from emendo_client.models import Progress
from emendo_client.transport.auto_pipeline import AsyncAutoPipeline
from emendo_config import Keys
from emendo_config.store.pipeline import as_text

log = logging.getLogger(__name__)
# Seconds between two looks at jobs whose progress somebody follows, and at those whose end is waited for.
LOOK, RECHECK = 1.0, 5.0
_AWAY = 1.0  # seconds until the next attempt to listen


class Stopping(Exception):  # noqa: N818  # nothing is wrong
    """The gateway was told to stop."""


@dataclass(slots=True, eq=False)
class _Job:
    """A job that somebody follows.

    Attributes:
        seen: counts the states found so far.
    """

    project: str
    id: str
    followers: set[Follower] = field(default_factory=set)
    state: Progress | EmendoError | None = None
    seen: int = 0
    looked: float = 0.0


class Follower:
    """One wait or stream."""

    def __init__(self, job: _Job, stopping: asyncio.Event, *, closely: bool) -> None:
        self._job = job
        self._stopping = stopping
        self._seen = 0
        self.closely = closely
        self.changed = asyncio.Event()

    async def next(self) -> Progress:
        """The job's next state that this follower has not seen; the first time, the state now.

        Raises:
            JobNotFoundError: there is no such job any more.
            NetworkError: Redis cannot be asked.
            Stopping: the gateway was told to stop.
        """
        while self._job.seen == self._seen:
            if self._stopping.is_set():
                raise Stopping
            await self.changed.wait()
            self.changed.clear()
        self._seen = self._job.seen
        state = self._job.state
        if isinstance(state, EmendoError):
            raise state
        assert state is not None
        return state


class Watch:
    """The jobs that this process waits for and follows.

    Args:
        listening: a connection for pub/sub to the control Redis.
        control: a connection to the control Redis.
    """

    def __init__(self, listening: Redis, control: Redis, keys: Keys) -> None:
        self._listening = listening
        self._senders = {"control": AsyncAutoPipeline(control)}
        self._keys = keys
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._subscribed: set[str] = set()
        self._heard: set[str] = set()  # those of the subscribed that Redis has confirmed
        self._due: set[str] = set()
        self._wake, self._hears = asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        self._pubsub: PubSub | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def following(self, project: str, job_id: str, *, closely: bool) -> AsyncIterator[Follower]:
        """Follows a job of the project as long as the block runs.

        Args:
            closely: also its progress; else little but its end.
        """
        job = self._jobs.get((project, job_id))
        if job is None:
            # If no confirmation comes, it is read in a second all the same.
            looked = asyncio.get_running_loop().time() - (0.0 if closely else RECHECK - LOOK)
            job = self._jobs[project, job_id] = _Job(project, job_id, looked=looked)
        follower = Follower(job, self._stopping, closely=closely)
        job.followers.add(follower)
        if job_id in self._heard:
            self._due.add(job_id)
        self._wake.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._look_again()), asyncio.create_task(self._listen())]
        try:
            yield follower
        finally:
            job.followers.discard(follower)
            if not job.followers:
                del self._jobs[project, job_id]
                self._wake.set()

    def stop(self) -> None:
        """Ends all waits and streams."""
        self._stopping.set()
        for job in self._jobs.values():
            for follower in job.followers:
                follower.changed.set()

    async def close(self) -> None:
        """Ends the listener."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pubsub is not None:
            await self._pubsub.aclose()
        await self._listening.aclose()

    # Reading.

    async def _look_again(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._subscribe()
            except (RedisError, OSError) as error:
                log.warning("the listener for jobs cannot subscribe: %s", type(error).__name__)
            now, due, self._due = clock(), self._due, set()
            wanted = [job for job in self._jobs.values() if job.id in due or now - job.looked >= _pause(job)]
            await asyncio.gather(*(self._look(job, now) for job in wanted))

    async def _look(self, job: _Job, now: float) -> None:
        job.looked = now
        found: Progress | EmendoError
        try:
            found = await run_async(self._senders, progress.get(self._keys, job.project, job.id))
        except EmendoError as error:
            found = error
        except RedisError as error:
            found = translate(error)
        except Exception as error:  # noqa: BLE001  # one job's record must not end the looks at all others
            log.warning("the job %s cannot be looked at: %s", job.id, type(error).__name__)
            return
        if found != job.state:
            job.state = found
            job.seen += 1
            for follower in job.followers:
                follower.changed.set()

    # Listening.

    async def _subscribe(self) -> None:
        """Listens for the jobs that are followed now, and for no others."""
        followed = {job.id for job in self._jobs.values()}
        fresh, gone = followed - self._subscribed, self._subscribed - followed
        if fresh:
            pubsub = self._pubsub or self._listening.pubsub()
            await pubsub.subscribe(*map(self._keys.job_channel, fresh))
            self._subscribed |= fresh
            self._pubsub = pubsub
        if gone and self._pubsub is not None:
            await self._pubsub.unsubscribe(*map(self._keys.job_channel, gone))
            self._subscribed -= gone
            self._heard -= gone
        if self._subscribed:
            self._hears.set()
        else:
            self._hears.clear()

    async def _listen(self) -> None:
        start = len(self._keys.job_channels)
        while True:
            await self._hears.wait()
            assert self._pubsub is not None
            try:
                message = await self._pubsub.get_message(timeout=RECHECK)
            except (RedisError, OSError):
                await asyncio.sleep(_AWAY)  # jobs are read again meanwhile
                continue
            if message is None or message["type"] == "unsubscribe":
                continue
            job_id = as_text(message["channel"])[start:]
            if message["type"] == "subscribe" and job_id in self._subscribed:  # also after a lost connection
                self._heard.add(job_id)
            self._due.add(job_id)
            self._wake.set()


def _pause(job: _Job) -> float:
    return LOOK if any(follower.closely for follower in job.followers) else RECHECK
