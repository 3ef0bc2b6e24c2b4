"""A server of this process, as a context manager."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from typing import Self

from tests.support.patience import PATIENCE


class Serving:
    """Serves in a thread of its own while the block runs."""

    def __init__(self, server: BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)
