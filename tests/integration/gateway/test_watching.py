"""A caller who waits for a job hears of its end, also of one that comes while Redis takes the subscription."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from emendo_client.models import JobStatus
from emendo_gateway import watching
from emendo_gateway.watching import Watch
from tests.support.intake import drain
from tests.support.patience import PATIENCE


class LatePubSub:
    """Sends subscriptions only when it is allowed to."""

    def __init__(self, real, allowed: asyncio.Event) -> None:
        self._real, self._allowed = real, allowed
        self._sending: asyncio.Task | None = None
        self.asked = asyncio.Event()

    async def subscribe(self, *channels: str) -> None:
        self.asked.set()

        async def send() -> None:
            await self._allowed.wait()
            await self._real.subscribe(*channels)

        self._sending = asyncio.create_task(send())

    async def get_message(self, **more):
        await self._allowed.wait()
        await self._sending
        return await self._real.get_message(**more)

    def __getattr__(self, name: str):
        return getattr(self._real, name)


@pytest.mark.parametrize("closely", [True, False])
async def test_an_end_before_the_subscription_is_heard_of(services, client, settings, monkeypatch, closely):
    monkeypatch.setattr(watching, "LOOK", 10 * PATIENCE)  # nobody looks again by himself
    monkeypatch.setattr(watching, "RECHECK", 20 * PATIENCE)
    job = client.add("hello", user_id="ana", infer=False)
    async with Redis.from_url(settings.control_url) as listening, Redis.from_url(settings.control_url) as control:
        allowed = asyncio.Event()
        late = LatePubSub(listening.pubsub(), allowed)
        monkeypatch.setattr(listening, "pubsub", lambda **_: late)
        watch = Watch(listening, control, services.keys)
        try:
            async with watch.following(client.project, job.id, closely=closely) as follower, asyncio.timeout(PATIENCE):
                await late.asked.wait()
                await asyncio.to_thread(drain, services, job)
                allowed.set()
                while (await follower.next()).status is not JobStatus.SUCCEEDED:
                    pass
        finally:
            await watch.close()
