"""The work of a process pool: a client that the parent used, or one of the child's own where nothing is inherited."""

from __future__ import annotations

import os
from functools import cache

from emendo_client import MemoryClient
from emendo_config import Settings


@cache
def _client(project: str) -> MemoryClient:
    return MemoryClient(Settings(), project=project)


def search(query: str) -> str:
    """The best hit's text."""
    client = _client(os.environ["SEARCHED_PROJECT"])
    return client.search(query, user_id="ana", limit=1)[0].memory


def prepare() -> None:
    """Opens the connections."""
    search("a query before the fork")
