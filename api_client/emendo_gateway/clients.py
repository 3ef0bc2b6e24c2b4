"""One client for each project, over the same connections: a project costs no connection of its own."""

from __future__ import annotations

from collections import OrderedDict

from emendo_client import AsyncMemoryClient
from emendo_client._async.base import sibling
from emendo_client._async.job import AsyncJob
from emendo_config import Settings

_MOST_KEPT = 4_096


class _Client(AsyncMemoryClient):
    """A client whose strong writes return at once: the gateway waits for their end with all its other waits."""

    async def _accepted(self, job_id: str, consistency: str, *, is_repeat: bool = False) -> AsyncJob:  # noqa: ARG002
        return AsyncJob(self, job_id, is_repeat=is_repeat)


class ProjectClients:
    """The clients of this process. A client reaches its own project only."""

    def __init__(self, settings: Settings) -> None:
        self._first = _Client(settings)
        self._clients: OrderedDict[str, AsyncMemoryClient] = OrderedDict()

    def of(self, project: str) -> AsyncMemoryClient:
        """The project's client. One that was not used for long is forgotten, which closes nothing."""
        client = self._clients.get(project)
        if client is None:
            client = self._clients[project] = sibling(self._first, project)
            if len(self._clients) > _MOST_KEPT:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(project)
        return client

    async def close(self) -> None:
        """Closes the connections that all of them share."""
        await self._first.close()
