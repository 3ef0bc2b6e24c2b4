"""The asyncio client has the same methods, awaited."""

from __future__ import annotations

import asyncio

from emendo_client import AsyncMemoryClient


async def test_writes_made_at_the_same_time_share_round_trips_to_redis(emendo_worker):
    async with AsyncMemoryClient(emendo_worker, project="async-tutorial") as client:
        jobs = await asyncio.gather(*(client.add(f"fact {number}", user_id="ana", infer=False) for number in range(20)))
        results = await asyncio.gather(*(job.wait() for job in jobs))
        assert {result.status for result in results} == {"succeeded"}
        assert (await client.get_all(user_id="ana")).total == 20
