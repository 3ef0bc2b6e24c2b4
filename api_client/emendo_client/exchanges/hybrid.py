"""Hybrid search: memories near in meaning and memories with the query's words, merged by reciprocal rank fusion.

Redis answers both halves in one round trip. Their scores cannot be compared, so the ranks are added: a memory in place
n of one half counts 1 / (60 + n). FT.HYBRID of Redis 8.4 does the same, and older servers do not have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from emendo_client.errors import ConfigurationError
from emendo_client.exchanges.candidates import narrowed
from emendo_client.exchanges.exchange import Exchange, RoundTrip, time_of_data
from emendo_client.exchanges.memories import DIALECT
from emendo_client.models import SearchHit
from emendo_client.records.memories import readable_memory
from emendo_client.requests.filters import Filter
from emendo_config import Keys
from emendo_config.spaces.index import describe
from emendo_config.store.clock import RedisClock
from emendo_config.store.memory_fields import MEMORY_FIELDS, WORDS_FIELD
from emendo_config.store.pipeline import Command, as_text

# The usual constant of reciprocal rank fusion: it keeps the first place of one half from deciding alone.
_K = 60
# Memories of each half that are ranked at least.
_DEPTH = 100


class Question(NamedTuple):
    """A query in both its forms.

    Attributes:
        field: the vector field of the active space.
        vector: bytes of datatype[dimensions], as that space has them.
        words: without any, the vector decides alone.
    """

    field: str
    vector: bytes
    words: Sequence[str]


def search(
    keys: Keys, wanted: Filter, question: Question, limit: int, *, project: str, clock: RedisClock
) -> Exchange[list[SearchHit]]:
    """The memories that rank highest in both halves together, the best first.

    Args:
        keys: key names.
        wanted: the scope.
        question: the query.
        limit: the largest number of results.
        project: the reader's.
        clock: of the data Redis.

    Raises:
        ConfigurationError: the index holds no words.
    """
    now = yield from time_of_data(clock)
    query, depth = wanted.expression(now), max(limit, _DEPTH)
    wanted = yield from narrowed(keys, wanted, query)
    halves = [_nearest(keys, wanted, query, question, depth)]
    if question.words:
        halves.append(_with_words(keys, wanted, query, question.words, depth))
    info, *replies = yield RoundTrip("data", [("FT.INFO", keys.index_alias), *halves])
    if WORDS_FIELD not in describe(info).fields:
        raise ConfigurationError(
            "the words of memories are not indexed, so mode='hybrid' cannot be used",
            suggestion="set EMENDO_INDEX_TEXT=true for all workers and restart them, or search with mode='vector'",
        )
    scores = fused([[as_text(key) for key in reply[1:]] for reply in replies])
    best = sorted(scores, key=lambda key: -scores[key])[:limit]
    read = (yield RoundTrip("data", [("HMGET", key, *MEMORY_FIELDS) for key in best])) if best else []
    found = (
        (key, readable_memory(values, project, now, include_deleted=False))
        for key, values in zip(best, read, strict=True)
    )
    return [SearchHit(**memory.model_dump(), score=scores[key]) for key, memory in found if memory is not None]


def fused(rankings: Sequence[Sequence[str]]) -> dict[str, float]:
    """Each key's score, from 0 to 1: 1 is the first place in both halves, 0.5 the first place in one of them."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, key in enumerate(ranking):
            scores[key] = scores.get(key, 0.0) + (_K + 1) / (_K + 1 + place) / 2
    return scores


def _nearest(keys: Keys, wanted: Filter, query: str, question: Question, depth: int) -> Command:
    parameters = [*wanted.parameters, "vector", question.vector, "limit", depth]
    return (
        *("FT.SEARCH", keys.index_alias, f"{query}=>[KNN $limit @{question.field} $vector AS distance]", *wanted.only),
        *("PARAMS", len(parameters), *parameters),
        *("SORTBY", "distance", "ASC", "NOCONTENT", "LIMIT", 0, depth),
        *DIALECT,
    )


def _with_words(keys: Keys, wanted: Filter, query: str, words: Sequence[str], depth: int) -> Command:
    """Words are parameters, and hold letters and digits only: none of them is ever read as a part of the query.

    Beside other clauses Redis counts only one of several alternatives. So the alternatives count nothing, and each word
    stands once more as an optional clause that counts.
    """
    names = [f"${name}" for name in _word_names(words)]
    any_word = f"@{WORDS_FIELD}:({'|'.join(names)})"
    if len(names) > 1:
        counted = " ".join(f"~@{WORDS_FIELD}:({name})" for name in names)
        any_word = f"({any_word})=>{{$weight: 0;}} {counted}"
    parameters = [*wanted.parameters, *chain(*zip(_word_names(words), words, strict=True))]
    return (
        *("FT.SEARCH", keys.index_alias, f"{query} {any_word}", *wanted.only),
        *("PARAMS", len(parameters), *parameters),
        *("SCORER", "BM25STD", "NOCONTENT", "LIMIT", 0, depth),
        *DIALECT,
    )


def _word_names(words: Sequence[str]) -> list[str]:
    return [f"word{number}" for number in range(len(words))]
