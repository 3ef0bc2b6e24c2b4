"""A Redis reached with TLS: a proxy in front of one that speaks plain text."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import trustme

from emendo_client.testing.ports import LOOPBACK

_HANDSHAKE = b"\x16"  # the first byte of a TLS connection, and of no command of Redis


class Certificates:
    """Certificates for this machine's loopback address, made for this test; each attribute is a PEM file.

    Attributes:
        ca: what clients should trust.
        right: of this CA, and valid.
        foreign, wrong_name, expired: of another CA, for another host, and of this CA yesterday.
    """

    def __init__(self, folder: Path) -> None:
        ours, another = trustme.CA(), trustme.CA()
        self.ca = folder / "ca.pem"
        ours.cert_pem.write_to_path(self.ca)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.right = _written(folder / "right.pem", ours.issue_cert(LOOPBACK, "localhost"))
        self.foreign = _written(folder / "foreign.pem", another.issue_cert(LOOPBACK, "localhost"))
        self.wrong_name = _written(folder / "wrong_name.pem", ours.issue_cert("elsewhere.example"))
        self.expired = _written(
            folder / "expired.pem",
            ours.issue_cert(LOOPBACK, not_before=yesterday - timedelta(days=9), not_after=yesterday),
        )


def _written(path: Path, issued: trustme.LeafCert) -> Path:
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    return path


class TLSProxy:
    """Passes connections on to a port, and takes the TLS off those that have it; a context manager.

    If nothing listens there, it hears the client out once and hangs up.

    Attributes:
        encrypted, plain: how many connections there were of each kind; one that ends in silence is of neither.
        heard: what clients said on encrypted connections.
    """

    def __init__(self, upstream: int, certificate: Path) -> None:
        self._upstream = upstream
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._socket = socket.create_server((LOOPBACK, 0), backlog=100)
        self._socket.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port: int = self._socket.getsockname()[1]
        self.encrypted = self.plain = 0
        self.heard = bytearray()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    async def _start(self) -> None:
        self._keep(self._accept())

    async def _stop(self) -> None:
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, work) -> None:  # type: ignore[no-untyped-def]
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            connection, _ = await self._loop.sock_accept(self._socket)
            self._keep(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            readable = asyncio.Event()
            self._loop.add_reader(connection, readable.set)
            try:
                await readable.wait()
            finally:
                self._loop.remove_reader(connection)
            first = connection.recv(1, socket.MSG_PEEK)
            is_encrypted = first == _HANDSHAKE
            self.encrypted += is_encrypted
            self.plain += bool(first) and not is_encrypted
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context if is_encrypted else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                there, back = await asyncio.open_connection(LOOPBACK, self._upstream)
            except OSError:
                self.heard += await reader.read(65_536)
                writer.close()
                return
            self._keep(_pass(reader, back, self.heard if is_encrypted else bytearray()))
            self._keep(_pass(there, writer, bytearray()))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    """Copies one direction; its end closes the other one, too."""
    try:
        while data := await reader.read(65_536):
            heard += data
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        return
    finally:
        writer.close()
