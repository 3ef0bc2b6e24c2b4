"""Embedders: text to vectors, by the OpenAI protocol or by the local model."""

from __future__ import annotations

from emendo_client.providers.embeddings.base import Embedder, Embeddings
from emendo_config import ConfigurationError, Settings
from emendo_config.embedding_space import EmbeddingSpace

__all__ = ["Embedder", "Embeddings", "create_embedder"]


def create_embedder(settings: Settings, space: EmbeddingSpace | None = None, *, for_queries: bool = False) -> Embedder:
    """An embedder of a space; heavy libraries are imported only here.

    Args:
        settings: where the provider is, and how it is asked.
        space: by default the settings' own.
        for_queries: whether it embeds search queries; otherwise it embeds memories.

    Raises:
        ConfigurationError: the space's provider has no embedder, or the settings name no server of it.
    """
    wanted = space or settings.space
    if wanted.provider == "local":
        from emendo_client.providers.embeddings.local import LocalEmbedder

        return LocalEmbedder()
    from emendo_client.providers.embeddings.openai import OpenAIEmbedder

    if wanted.provider != "openai":
        raise ConfigurationError(
            f"there is no embedder for the provider {wanted.provider!r}",
            suggestion="use a release of Emendo that has one",
        )
    return OpenAIEmbedder(settings, wanted, for_queries=for_queries)
