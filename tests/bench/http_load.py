"""Sends one request again and again over some connections, and prints how many a second were answered.

    python http_load.py PORT CONNECTIONS COUNT < head-and-body

A process of its own, so that its work is not counted as the server's or as the measuring process's.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


async def one(port: int, request: bytes, left: list[int]) -> None:
    """Sends requests over one connection while any are left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while left[0] > 0:
        left[0] -= 1
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            sys.exit(f"a request was refused: {head.splitlines()[0].decode()}")
    writer.close()


async def main() -> None:
    """Prints the rate."""
    port, connections, count = map(int, sys.argv[1:])
    request = sys.stdin.buffer.read()
    left = [count]
    began = time.perf_counter()
    await asyncio.gather(*(one(port, request, left) for _ in range(connections)))
    print(count / (time.perf_counter() - began))


if __name__ == "__main__":
    asyncio.run(main())
