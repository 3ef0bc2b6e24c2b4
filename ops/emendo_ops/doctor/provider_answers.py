"""The providers' answers to a harmless text and question, asked with the settings of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from emendo_client.errors import EmendoError
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.embeddings import create_embedder
from emendo_client.providers.harmless import ask_harmless, embed_harmless, tokens_read
from emendo_client.providers.openai_errors import CHAT, EMBEDDING
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_ops.doctor.finding import Finding

# An answer to one word that takes this part of the timeout: one to many texts will be late.
_SLOW = 0.5
# Statuses of a server that misses a field.
_MISSING_FIELD = (400, 422)
_CONTEXT = (
    "raise the server's context (Ollama: OLLAMA_CONTEXT_LENGTH, or num_ctx in a Modelfile) to "
    "EMENDO_INFERENCE_WINDOW_TOKENS and half as much again, or lower the setting"
)
# The model answered, though not as it was asked to: small models chat.
_CHATS = (ErrorCode.INFERENCE_MALFORMED, ErrorCode.INFERENCE_TRUNCATED)


def check_embedding_answers(settings: Settings) -> Iterator[Finding]:
    """Embeds one word as a memory, and as a search query if those are embedded in another way."""
    yield _embed(settings, "embedding", for_queries=False)
    if settings.space.query != settings.space.passage:
        yield _embed(settings, "query embedding", for_queries=True)


def check_chat_answer(settings: Settings) -> Finding:
    """Asks the chat model for one word of JSON, and shows the time it took."""
    if not settings.has_chat_model:
        return Finding("chat model", "ok", "none is configured: adds store messages as they are")
    return _reported("chat model", lambda: _ask(settings), CHAT.advice)


def check_chat_context(settings: Settings, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Asks a question as long as those of inference, since servers such as Ollama cut a long one without a word.

    Args:
        settings: of this machine.
        findings: of the other checks; a model that did not answer is not asked again.
    """
    if settings.has_chat_model and any(each.check == "chat model" and each.state != "fail" for each in findings):
        yield _reported("chat context", lambda: _fill(settings), CHAT.advice)


def _fill(settings: Settings) -> Finding:
    model, words = create_chat_model(settings), settings.inference_window_tokens
    try:
        read = tokens_read(model, words)
    finally:
        model.close()
    if not read:
        return Finding("chat context", "warn", "the server does not say how many tokens it reads", _CONTEXT)
    if read < words:
        found = f"the server read {read:,} tokens of a question of {words:,} words, and cut the rest"
        return Finding("chat context", "fail", found, _CONTEXT)
    return Finding("chat context", "ok", f"a question of {words:,} words was read whole")


def _embed(settings: Settings, check: str, *, for_queries: bool) -> Finding:
    def ask() -> Finding:
        embedder = create_embedder(settings, for_queries=for_queries)
        try:
            embedder.prepare()  # its time is none of the provider's
            began = time.monotonic()
            vector = embed_harmless(embedder).first
            seconds = time.monotonic() - began
        finally:
            embedder.close()
        found = f"a vector of {len(vector) // 4} dimensions in {_milliseconds(seconds)}"
        limit = f"{EMBEDDING.settings}_TIMEOUT", settings.embedding_timeout
        return _judged(Finding(check, "ok", found), seconds, limit, embedder.refused_fields)

    fields = f"{EMBEDDING.settings}_{'QUERY' if for_queries else 'PASSAGE'}_FIELDS"
    return _reported(check, ask, EMBEDDING.advice, f"; a field that it misses goes into {fields}")


def _ask(settings: Settings) -> Finding:
    model = create_chat_model(settings)
    began = time.monotonic()
    try:
        ask_harmless(model)
    except EmendoError as error:
        if error.error_code == ErrorCode.INFERENCE_REFUSED:  # the usual advice is about content
            mend = "a harmless question is refused: check the content filter at the provider, or use another model"
            return Finding("chat model", "fail", f"{error.message} ({error.error_code})", mend)
        is_text = "requests" in error.details and error.suggestion is None
        if error.error_code not in _CHATS or not is_text:
            raise
        found = f"{settings.chat_model} answers, and not with the JSON that it was asked for"
        return Finding("chat model", "warn", found, "measure the model: emendo eval inference")
    finally:
        model.close()
    seconds = time.monotonic() - began
    found = f"{settings.chat_model} answered in {_milliseconds(seconds)}"
    limit = f"{CHAT.settings}_TIMEOUT", settings.chat_timeout
    return _judged(Finding("chat model", "ok", found), seconds, limit, model.refused_parts)


def _judged(answered: Finding, seconds: float, limit: tuple[str, float], refused: Sequence[str]) -> Finding:
    """The finding for an answer, with what the server refuses; a warning for one that nearly came too late."""
    if refused:
        found = f"{answered.found}; the server refuses {', '.join(refused)}, so requests go without"
        answered = replace(answered, found=found)
    setting, timeout = limit
    if seconds < timeout * _SLOW:
        return answered
    mend = f"it may load its model now: ask again; if it stays slow, raise {setting} ({timeout:g} s)"
    return replace(answered, state="warn", mend=mend)


def _reported(check: str, ask: Callable[[], Finding], advice: str, of_a_refusal: str = "") -> Finding:
    """The finding, or the error as one, with the advice that goes with it."""
    try:
        return ask()
    except EmendoError as error:
        # A quota does not come back by itself.
        state: Literal["warn", "fail"] = "warn" if error.error_code == ErrorCode.RATE_LIMIT else "fail"
        if error.details.get("status") in _MISSING_FIELD:
            advice += of_a_refusal
        return Finding(check, state, f"{error.message} ({error.error_code})", error.suggestion or advice)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:,.0f} ms"
