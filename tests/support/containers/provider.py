"""The stand-in of an embedding provider, for other containers: the OpenAI-protocol server behind a port for all."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from emendo_client.testing.openai_server.server import OpenAIServer

PORT = 8000


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _serve(inner: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", inner)
        await asyncio.gather(_copy(reader, back), _copy(there, writer), return_exceptions=True)

    async with await asyncio.start_server(connected, "0.0.0.0", PORT) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with OpenAIServer() as running:
        asyncio.run(_serve(urlsplit(running.base_url).port or 0))
