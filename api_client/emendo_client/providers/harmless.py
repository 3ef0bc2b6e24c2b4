"""A harmless text and question: a provider that refuses these, or does not answer them, will refuse every other one."""

from __future__ import annotations

import itertools
import secrets

from pydantic import BaseModel, Field

from emendo_client.errors import InferenceError
from emendo_client.providers.chat.base import ChatAnswer, ChatModel
from emendo_client.providers.embeddings.base import Embedder, Embeddings

_TEXT = "probe"
_QUESTION = ({"role": "system", "content": "Answer with ok."}, {"role": "user", "content": _TEXT})
_ANSWER_TOKENS = 64
# Short words that no tokenizer puts together.
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class ProbeAnswer(BaseModel):
    """The answer to a probe of the chat model."""

    ok: bool = Field(True, description="always true")


def embed_harmless(embedder: Embedder) -> Embeddings:
    """Embeds the text in one request; raises as `Embedder.embed`."""
    return embedder.embed([_TEXT])


def ask_harmless(model: ChatModel) -> ChatAnswer[ProbeAnswer]:
    """Asks the question; raises as `ChatModel.ask`."""
    return model.ask(_QUESTION, ProbeAnswer, max_tokens=_ANSWER_TOKENS)


def tokens_read(model: ChatModel, words: int) -> int:
    """How many tokens of so many words the server says it has read; 0 if it does not say. A word is one at least.

    Raises:
        EmendoError: as `ChatModel.ask`, except that the answer may be any.
    """
    # Nothing of it may be in the server's cache.
    text = " ".join((secrets.token_hex(8), *itertools.islice(itertools.cycle(_WORDS), words)))
    question = (_QUESTION[0], {"role": "user", "content": text})
    try:
        return model.ask(question, ProbeAnswer, max_tokens=_ANSWER_TOKENS).prompt_tokens
    except InferenceError as error:
        if "prompt_tokens" not in error.details:
            raise
        return int(error.details["prompt_tokens"]) // int(error.details.get("requests") or 1)
