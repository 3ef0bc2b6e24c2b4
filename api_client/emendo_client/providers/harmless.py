"""A harmless text and question: a provider that refuses these, or does not answer them, will refuse every other one."""

from __future__ import annotations

from pydantic import BaseModel, Field

from emendo_client.providers.chat.base import ChatAnswer, ChatModel
from emendo_client.providers.embeddings.base import Embedder, Embeddings

_TEXT = "probe"
_QUESTION = ({"role": "system", "content": "Answer with ok."}, {"role": "user", "content": _TEXT})
_ANSWER_TOKENS = 64


class ProbeAnswer(BaseModel):
    """The answer to a probe of the chat model."""

    ok: bool = Field(True, description="always true")


def embed_harmless(embedder: Embedder) -> Embeddings:
    """Embeds the text in one request; raises as `Embedder.embed`."""
    return embedder.embed([_TEXT])


def ask_harmless(model: ChatModel) -> ChatAnswer[ProbeAnswer]:
    """Asks the question; raises as `ChatModel.ask`."""
    return model.ask(_QUESTION, ProbeAnswer, max_tokens=_ANSWER_TOKENS)
