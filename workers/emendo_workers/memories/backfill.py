"""Vectors of one space for memories that lack them: read → embed (or copy) → write, each step for all memories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.providers.embeddings.vectors import converted
from emendo_config.spaces.registry import SpaceRecord, newest_listed, read_registry
from emendo_config.store import scripts
from emendo_config.store.formats import listed_spaces
from emendo_config.store.memory_fields import SPACE_FIELD
from emendo_config.store.pipeline import as_text
from emendo_workers.providers.pipeline import EmbeddingPipeline
from emendo_workers.services import Services

# Rounds for a memory whose text keeps changing; after that, the workers that change it write its vector.
MAX_ROUNDS = 3


class Backfilled(StrEnum):
    """The result for one memory."""

    DONE = "done"  # it has the vector now
    LISTED = "listed"  # it had it already
    CHANGED = "changed"  # its text changed every time; nothing was written
    GONE = "gone"  # there is no such memory, or it was erased


@dataclass(frozen=True, slots=True)
class _Found:
    """One memory that lacks the vector.

    Attributes:
        vector: one of the same text and model in another space's datatype, to convert; None when there is none.
        is_newest: the memory has no younger space's vector, so this space's model becomes the memory's.
    """

    memory_id: str
    text: str
    hash: str
    vector: tuple[SpaceRecord, bytes] | None
    is_newest: bool


def backfill(
    services: Services,
    memory_ids: Sequence[str],
    space: SpaceRecord,
    *,
    overwrite: bool = False,
    pipeline_of: Callable[[SpaceRecord], EmbeddingPipeline] | None = None,
) -> dict[str, Backfilled | EmendoError]:
    """Writes the space's vector of each memory's current text, where it is missing.

    Deleted memories get theirs too: a restore must find them complete. Versions and histories do not change. Calls may
    be repeated, and made by two workers at once: a listed vector is only read, and an embedded text is cached.

    Args:
        services: the worker's.
        memory_ids: of any project; one list is embedded together.
        space: a registered one.
        overwrite: write it where it is listed too, to repair a stored vector.
        pipeline_of: the space's way from texts to vectors; default: the one that changes of memories take.

    Returns:
        For each id the result, or the error that kept its text from being embedded.

    Raises:
        RedisError: Redis failed midway. The vectors written so far stay.
        ConfigurationError: the space's provider is not installed here.
    """
    outcomes: dict[str, Backfilled | EmendoError] = {}
    waiting = list(dict.fromkeys(memory_ids))
    others = [other for other in read_registry(services.data, services.keys) if other.name != space.name]
    for _ in range(MAX_ROUNDS):
        if not waiting:
            break
        found = _read(services, waiting, space, others, outcomes, overwrite=overwrite)
        vectors = _vectors(pipeline_of or services.pipeline_of, found, space, outcomes)
        ready = [each for each in found if each.memory_id in vectors]
        replies = scripts.run(
            services.data,
            [
                scripts.backfill(
                    memory=services.keys.memory(each.memory_id),
                    text_hash=each.hash,
                    space=space.name,
                    field=space.field,
                    vector=vectors[each.memory_id],
                    model=space.space.model if each.is_newest else "",
                )
                for each in ready
            ],
        )
        outcomes.update(
            (each.memory_id, Backfilled(as_text(reply))) for each, reply in zip(ready, replies, strict=True)
        )
        _forget_erased(services, ready, space, outcomes)
        waiting = [memory_id for memory_id in waiting if outcomes[memory_id] is Backfilled.CHANGED]
    return outcomes


def _forget_erased(
    services: Services,
    found: Sequence[_Found],
    space: SpaceRecord,
    outcomes: dict[str, Backfilled | EmendoError],
) -> None:
    """Drops cached vectors of memories that were erased meanwhile."""
    texts = [each.text for each in found if outcomes[each.memory_id] is Backfilled.GONE]
    if texts:
        services.pipeline_of(space).forget(texts)


def _read(
    services: Services,
    memory_ids: Sequence[str],
    space: SpaceRecord,
    others: Sequence[SpaceRecord],
    outcomes: dict[str, Backfilled | EmendoError],
    *,
    overwrite: bool,
) -> list[_Found]:
    """The memories that lack the vector; the others get their outcome."""
    sources = [other for other in others if other.embedded_as == space.embedded_as]
    fields = ("memory", "hash", SPACE_FIELD, *(source.field for source in sources))
    replies: list[Any] = scripts.run(
        services.data, [("HMGET", services.keys.memory(memory_id), *fields) for memory_id in memory_ids]
    )
    found = []
    for memory_id, (text, text_hash, names, *stored) in zip(memory_ids, replies, strict=True):
        listed = listed_spaces(as_text(names))
        if text is None or text_hash is None:
            outcomes[memory_id] = Backfilled.GONE
        elif space.name in listed and not overwrite:
            outcomes[memory_id] = Backfilled.LISTED
        else:
            there = [(source, vector) for source, vector in zip(sources, stored, strict=True) if source.name in listed]
            vector = there[0] if there else None
            newest = newest_listed([space, *others], {space.name, *listed})
            found.append(_Found(memory_id, as_text(text), as_text(text_hash), vector, newest is space))
    return found


def _vectors(
    pipeline_of: Callable[[SpaceRecord], EmbeddingPipeline],
    found: Sequence[_Found],
    space: SpaceRecord,
    outcomes: dict[str, Backfilled | EmendoError],
) -> dict[str, bytes]:
    """The vector of each memory in the space's datatype; a memory without one gets the error as its outcome."""
    texts = list({each.text: None for each in found if each.vector is None})
    embedded = pipeline_of(space).embed(texts) if texts else {}
    vectors: dict[str, bytes] = {}
    for each in found:
        answer = embedded[each.text] if each.vector is None else each.vector[1]
        if isinstance(answer, EmendoError):
            outcomes[each.memory_id] = answer
            continue
        try:
            datatype = "float32" if each.vector is None else each.vector[0].datatype
            vectors[each.memory_id] = converted(answer, datatype, space.datatype)
        except EmendoError as error:
            outcomes[each.memory_id] = error
    return vectors
