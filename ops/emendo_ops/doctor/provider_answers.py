"""The providers' answers to a harmless text and question, asked with the settings of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from emendo_client.errors import EmendoError
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.chat.base import UNUSABLE
from emendo_client.providers.embeddings import create_embedder
from emendo_client.providers.harmless import ask_harmless, embed_harmless
from emendo_client.providers.openai_errors import CHAT, EMBEDDING
from emendo_config import Settings
from emendo_ops.doctor.finding import Finding


def check_embedding_answer(settings: Settings) -> Finding:
    """Embeds one word, and shows the vector's dimensions and the time it took."""
    return _timed("embedding", lambda: _embed(settings), EMBEDDING.advice)


def check_chat_answer(settings: Settings) -> Finding:
    """Asks the chat model for one word of JSON, and shows the time it took."""
    if not settings.has_chat_model:
        return Finding("chat model", "ok", "none is configured: adds store messages as they are")
    return _timed("chat model", lambda: _ask(settings), CHAT.advice)


def _embed(settings: Settings) -> str:
    embedder = create_embedder(settings)
    try:
        embedder.prepare()  # its time is none of the provider's
        began = time.monotonic()
        vector = embed_harmless(embedder).first
        return f"a vector of {len(vector) // 4} dimensions in {_milliseconds(began)}"
    finally:
        embedder.close()


def _ask(settings: Settings) -> str:
    model = create_chat_model(settings)
    began = time.monotonic()
    try:
        ask_harmless(model)
    finally:
        model.close()
    return f"{settings.chat_model} answered in {_milliseconds(began)}"


def _timed(check: str, ask: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(check, "ok", ask())
    except EmendoError as error:
        if error.error_code in UNUSABLE and "status" not in error.details:  # it answered, and small models chat
            return Finding(check, "warn", error.message, "measure the model: emendo eval inference")
        return Finding(check, "fail", f"{error.message} ({error.error_code})", error.suggestion or advice)


def _milliseconds(began: float) -> str:
    return f"{(time.monotonic() - began) * 1_000:,.0f} ms"
