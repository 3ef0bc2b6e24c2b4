"""Reading an embedding answer: a document of the OpenAI protocol becomes vectors in the texts' order.

Servers differ: base64 or lists whatever was asked for, any order, `index` left out where it is 0 or everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.errors import EmbeddingError
from emendo_client.providers.embeddings.vectors import little_endian
from emendo_client.providers.openai_errors import EMBEDDING, not_an_api
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import read_json

# A larger count of tokens is nonsense, and the counters of Redis end at 64 bits.
MOST_TOKENS = 1_000_000_000


def read_answer(body: bytes, count: int) -> tuple[list[bytes | None], int]:
    """The vectors as float32 bytes of any length, and the tokens as the provider counted them (0 if it does not).

    A vector is None where the answer has something else in its place, or nothing under its index.

    Args:
        body: the answer's JSON.
        count: number of texts that were sent.

    Raises:
        EmbeddingError: (EMBEDDING_MALFORMED) it is no such document, or nobody can say whose a vector is.
    """
    try:
        answer = read_json(body)
        items = answer["data"]
        indexes = [item.get("index") for item in items]
        if len(items) > count:
            raise _OrderError("it has more vectors than texts")  # as the others
        if len(items) == count:
            items = [items[place] for place in _places(indexes)]
        elif _name_their_texts(indexes, count):
            by_index = dict(zip(indexes, items, strict=True))
            items = [by_index.get(index, {}) for index in range(count)]
        vectors = [_vector(item.get("embedding")) for item in items]
        tokens = _tokens(answer.get("usage"))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        reason = str(error) if isinstance(error, _OrderError) else type(error).__name__
        raise EmbeddingError(
            f"the provider's answer is malformed ({reason})",
            error_code=ErrorCode.EMBEDDING_MALFORMED,
            suggestion=None if isinstance(error, _OrderError) else not_an_api(EMBEDDING),
        ) from None
    return vectors, tokens


def _vector(embedding: Any) -> bytes | None:
    if isinstance(embedding, list) and len(embedding) == 1 and isinstance(embedding[0], list):
        embedding = embedding[0]  # llama.cpp gave a list of one vector
    try:
        return little_endian(embedding)
    except (TypeError, ValueError, OverflowError):
        return None


def _tokens(usage: Any) -> int:
    """The count of tokens; 0 if it cannot be read, for which no vector is thrown away."""
    counted = usage.get("total_tokens") if isinstance(usage, dict) else None
    try:
        return min(max(0, int(counted or 0)), MOST_TOKENS)
    except (TypeError, ValueError, OverflowError):
        return 0


def _name_their_texts(indexes: Sequence[Any], count: int) -> bool:
    """True if each of too few vectors says whose it is."""
    return 0 < len(indexes) < count and len(set(indexes)) == len(indexes) and set(indexes) < set(range(count))


class _OrderError(ValueError):
    """Nobody can say which vector belongs to which text."""


def _places(indexes: Sequence[Any]) -> list[int]:
    """Where each text's item stands; an item without an index stands at its own place, or in the only one left."""
    given = [None if index is None else int(index) for index in indexes]
    if given.count(None) == 1:
        left = set(range(len(given))) - set(given)
        given[given.index(None)] = left.pop() if len(left) == 1 else None
    places = {place if index is None else index: place for place, index in enumerate(given)}
    if places.keys() != set(range(len(given))):
        raise _OrderError("an index of its vectors is repeated or missing")
    return [places[index] for index in range(len(given))]
