"""Turning text into vectors: the OpenAI protocol, or the local model."""

from __future__ import annotations

from emendo_client.embeddings.base import Embedder, Embeddings
from emendo_config import ConfigurationError, Settings
from emendo_config.spaces import EmbeddingSpace

__all__ = ["Embedder", "Embeddings", "create_embedder"]


def create_embedder(settings: Settings, space: EmbeddingSpace | None = None) -> Embedder:
    """The embedder of a space, by default of the settings' own; heavy libraries are imported only here.

    Raises:
        ConfigurationError: the space is of a provider there is no embedder for, or the settings name no server of it.
    """
    wanted = space or settings.space
    if wanted.provider == "local":
        from emendo_client.embeddings.local import LocalEmbedder

        return LocalEmbedder()
    from emendo_client.embeddings.openai import OpenAIEmbedder

    if wanted.provider != "openai":
        raise ConfigurationError(
            f"there is no embedder for the provider {wanted.provider!r}", suggestion="run a release that has one"
        )
    return OpenAIEmbedder(settings, wanted)
