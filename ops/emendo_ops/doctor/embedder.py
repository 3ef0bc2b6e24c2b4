"""The embedder that the settings choose."""

from __future__ import annotations

import os

from emendo_client.providers.embeddings import create_embedder
from emendo_config import ConfigurationError, Settings
from emendo_config.urls import redact_url
from emendo_ops.doctor.finding import Finding


def check_embedder(settings: Settings) -> Finding:
    """Makes the embedder ready, without a request."""
    space = settings.space
    described = f"{space.provider}: {space.model}, {space.dimensions} dimensions"
    if space.provider == "openai":
        described += f", {redact_url(settings.embedding_base_url) if settings.embedding_base_url else 'OpenAI itself'}"
        described += f", {_key_origin(settings)}"
    try:
        embedder = create_embedder(settings)
        embedder.prepare()
    except ConfigurationError as error:
        return Finding("embedder", "fail", error.message, error.suggestion or "")
    embedder.close()
    return Finding("embedder", "ok", described)


def _key_origin(settings: Settings) -> str:
    """The variable that gave the key. The key itself is never shown."""
    if not settings.embedding_api_key.get_secret_value():
        return "no key"
    own = os.environ.get("EMENDO_EMBEDDING_API_KEY")
    return f"key from {'EMENDO_EMBEDDING_API_KEY' if own else 'OPENAI_API_KEY'}"
