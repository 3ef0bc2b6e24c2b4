"""The gateway's memory does not grow with the requests that it answers, while a thousand clients follow jobs.

The first part of the requests fills what a process keeps: caches, pools, arenas. After that it must stay.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from emendo_client.testing.worker import environment
from tests.support.gateway import make_key
from tests.support.patience import LONG_PATIENCE
from tests.support.web.servers import serving

IS_DEEP = os.environ.get("EMENDO_HYPOTHESIS_PROFILE") == "deep"
STREAMS, REQUESTS = (1_000, 100_000) if IS_DEEP else (200, 4_000)
CONNECTIONS = 16
# A leak of 100 bytes a request would be 10 MB in the full size. Allocators move by less than this.
MOST_GROWTH = 8 << 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
    pytest.mark.timeout(10 * LONG_PATIENCE),
]


def child_of(port: int) -> int:
    """The process of this one's children that was told to listen there."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    (found,) = (pid for pid in children if f"--port\0{port}" in Path(f"/proc/{pid}/cmdline").read_text())
    return int(found)


def resident(pid: int) -> int:
    """Bytes that a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Asking:
    """Sends requests to one port, with one key."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._fields = f"Host: localhost\r\nAuthorization: Bearer {key}\r\n"

    async def once(self, head: str, body: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self.request(head, body))
        return reader, writer

    def request(self, head: str, body: str = "") -> bytes:
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return f"{head} HTTP/1.1\r\n{self._fields}{length}\r\n{body}".encode()

    async def add(self, number: int) -> str:
        """Adds as often, over some connections; the last job's id."""
        left, job_ids = [number], []
        body = json.dumps({"messages": "I dislike seafood.", "user_id": "ana", "infer": False})
        request = self.request("POST /api/v1/memories", body)

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while left[0] > 0:
                left[0] -= 1
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answer = json.loads(await reader.readexactly(length))
                assert head.startswith(b"HTTP/1.1 202"), answer
                job_ids[:] = [answer["job_id"]]
            writer.close()

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        return job_ids[0]


async def test_memory_stays_as_it_is_however_many_requests_are_answered(emendo_settings, tmp_path):
    key, _ = make_key(emendo_settings, rate=0)
    with ExitStack() as running:
        argv = [sys.executable, "-m", "emendo_ops.cli", "gateway", "--port", "{port}"]
        variables = environment(emendo_settings)
        port = running.enter_context(serving(argv, variables, tmp_path / "log", "/health/live"))
        pid, asking = child_of(port), Asking(port, key)
        job_id = await asking.add(1)
        streams = [await asking.once(f"GET /api/v1/jobs/{job_id}/events") for _ in range(STREAMS)]
        for reader, _ in streams:
            assert b"event: progress" in await reader.readuntil(b"event: progress")
        await asking.add(REQUESTS // 3)
        before = resident(pid)
        await asking.add(REQUESTS)
        grown = resident(pid) - before
        for reader, writer in streams:
            assert not reader.at_eof(), "a stream ended while others asked"
            writer.close()
        assert grown < MOST_GROWTH, f"{REQUESTS} requests made the gateway {grown / 2**20:.1f} MiB larger"
