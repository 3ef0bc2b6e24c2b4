"""Turning text into vectors: the OpenAI protocol, or the local model."""

from __future__ import annotations

from emendo_client.embeddings.base import Embedder, Embeddings
from emendo_config import Settings

__all__ = ["Embedder", "Embeddings", "create_embedder"]


def create_embedder(settings: Settings) -> Embedder:
    """The embedder the settings choose; heavy libraries are imported only here.

    Raises:
        ConfigurationError: the local embedder is chosen, but the `[local]` extra is not installed.
    """
    if settings.embedding_provider == "local":
        from emendo_client.embeddings.local import LocalEmbedder

        return LocalEmbedder()
    from emendo_client.embeddings.openai import OpenAIEmbedder

    return OpenAIEmbedder(settings)
