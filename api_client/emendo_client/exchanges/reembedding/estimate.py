"""The estimate of a re-embedding, before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.memories import DIALECT
from emendo_client.exchanges.reembedding.models import ReembedPlan
from emendo_client.exchanges.reembedding.selection import Selection
from emendo_client.exchanges.scan import memory_ids
from emendo_config import Keys, Settings
from emendo_config.spaces.index import find_active, vector_field
from emendo_config.spaces.registry import SpaceRecord, parse_registry
from emendo_config.store.pipeline import Command

# Embedded once to check that the provider has the model and returns the expected dimensions.
PROBE = "Is this model there?"
# English text has about four bytes per token.
_BYTES_A_TOKEN = 4
# Texts whose average length stands for all texts.
_SAMPLE = 500
_SCAN_COUNT = 1_000
# About the bytes an index needs for a memory besides its vector.
_INDEX_ENTRY_BYTES = 200


def spaces(keys: Keys) -> Exchange[tuple[SpaceRecord, tuple[SpaceRecord, ...]]]:
    """The active embedding space, and all registered spaces.

    Raises:
        VectorStoreError: there is no index yet. ConfigurationError: the alias names no registered space.
    """
    info, fields = yield RoundTrip("data", [("FT.INFO", keys.index_alias), ("HGETALL", keys.spaces)])
    records = parse_registry(fields)
    return find_active(vector_field(info), records), records


def estimate(settings: Settings, keys: Keys, source: SpaceRecord, target: SpaceRecord) -> Exchange[ReembedPlan]:
    """The plan of re-embedding everything from one space into another."""
    every, deleted, kept, sample = yield RoundTrip(
        "data",
        [
            _count(keys, "*"),
            _count(keys, "@is_deleted:{1}"),
            _count(keys, "@is_deleted:{1} @deleted_ms:[-inf +inf]"),
            ("FT.SEARCH", keys.index_alias, "*", "NOCONTENT", "LIMIT", 0, _SAMPLE, *DIALECT),
        ],
    )
    # A deleted memory can be restored, so it has a vector. An erased one has none, and no deletion time.
    memories = int(every[0]) - int(deleted[0]) + int(kept[0])
    lengths = (yield RoundTrip("data", [("HSTRLEN", key, "memory") for key in sample[1:]])) if sample[1:] else []
    texts = [int(length) for length in lengths if length]
    average = sum(texts) / len(texts) if texts else 0.0
    return _plan(settings, source, target, memories, average * memories)


def estimate_repair(
    settings: Settings, keys: Keys, active: SpaceRecord, filters: Mapping[str, Any]
) -> Exchange[ReembedPlan]:
    """The plan of re-embedding the memories that match the filters; reads every memory, page by page."""
    selection = Selection(active, filters)
    found = size = cursor = 0
    while True:
        cursor, ids = yield from memory_ids(keys, cursor, _SCAN_COUNT)
        if ids:
            commands: list[Command] = []
            for memory_id in ids:
                key = keys.memory(memory_id)
                commands += [*selection.reads(key), ("HSTRLEN", key, "memory")]
            replies = iter((yield RoundTrip("data", commands)))
            for values, vector, text in zip(replies, replies, replies, strict=True):
                if selection.finds(values, vector):
                    found, size = found + 1, size + int(text)
        if not cursor:
            return _plan(settings, active, active, found, size)


def _plan(
    settings: Settings, source: SpaceRecord, target: SpaceRecord, memories: int, text_bytes: float
) -> ReembedPlan:
    tokens = 0 if target.copy_of and target != source else math.ceil(text_bytes / _BYTES_A_TOKEN)
    requests = 0
    if tokens:
        by_tokens = tokens / settings.embedding_max_tokens
        requests = math.ceil(max(memories / min(settings.chunk_items, settings.embedding_max_inputs), by_tokens))
    added = 0 if target == source else 2 * target.vector_bytes + _INDEX_ENTRY_BYTES  # in the hash and in the index
    return ReembedPlan(
        source=source.name,
        target=target.name,
        memories=memories,
        tokens=tokens,
        requests=requests,
        seconds=_seconds(settings, tokens, requests) if tokens else None,
        cost=None if settings.embedding_price is None else tokens * settings.embedding_price / 1_000_000,
        memory_bytes=memories * added,
    )


def _seconds(settings: Settings, tokens: int, requests: int) -> float | None:
    wanted = (
        (tokens, settings.embedding_tokens_per_minute),
        (requests, settings.embedding_requests_per_minute),
    )
    minutes = [amount / limit for amount, limit in wanted if limit]
    return max(minutes) * 60 / settings.maintenance_share if minutes else None


def _count(keys: Keys, query: str) -> Command:
    return ("FT.SEARCH", keys.index_alias, query, "NOCONTENT", "LIMIT", 0, 0, *DIALECT)
