"""What answers, for `client.health()`; `emendo doctor` says more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from emendo_client.errors import EmendoError
from emendo_client.steps import Batch, Steps, run, run_async
from emendo_config import Keys

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis as AsyncRedis

# A worker that has not been heard of for so long (seconds) is not counted.
WORKER_SILENCE = 30.0


class Health(BaseModel):
    """`problem` is set when Redis cannot be used; without workers jobs are accepted but wait."""

    model_config = ConfigDict(frozen=True)

    redis: bool
    index: bool = False
    workers: int = 0
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """True when jobs are accepted and carried out."""
        return self.redis and self.index and self.workers > 0


def check(planes: dict[str, redis.Redis], keys: Keys) -> Health:
    """Asks both planes; failures become `problem`."""
    try:
        workers = run(planes, _control(keys))
        index = run(planes, _data(keys))
    except EmendoError as error:
        return Health(redis=False, problem=str(error))
    return Health(redis=True, index=index, workers=workers)


async def check_async(planes: dict[str, AsyncRedis], keys: Keys) -> Health:
    """The asyncio twin of `check`."""
    try:
        workers = await run_async(planes, _control(keys))
        index = await run_async(planes, _data(keys))
    except EmendoError as error:
        return Health(redis=False, problem=str(error))
    return Health(redis=True, index=index, workers=workers)


def _control(keys: Keys) -> Steps[int]:
    since = int((time.time() - WORKER_SILENCE) * 1000)
    (count,) = yield Batch("control", [("ZCOUNT", keys.workers, since, "+inf")])
    return int(count)


def _data(keys: Keys) -> Steps[bool]:
    (indexes,) = yield Batch("data", [("FT._LIST",)])
    names = {name.decode() if isinstance(name, bytes) else name for name in indexes}
    return any(name.startswith(keys.index("")) for name in names)
