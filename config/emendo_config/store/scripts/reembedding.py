"""Scripts about the store's re-embedding and the index that searches use."""

from __future__ import annotations

from typing import Any

from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.declaration import Key, Values, script


@script(reply=bool, at_limit=True)
def advance(
    *,
    migration: Key,
    feed: Key,
    failures: Key,
    job_id: str,
    revision: int,
    feed_length: int,
    ttl: int,
    is_over: bool,
    fields: Values,
    removed: Values,
    feed_entry: Values,
) -> None:
    """True when the re-embedding was moved on; False when another caller was faster.

    Args:
        migration, feed, failures: the state; the feed; the failures by memory.
        job_id, revision: as they were read.
        feed_length: changes the feed keeps.
        ttl: seconds the state is kept when it is over.
        is_over: another re-embedding may begin.
        fields: field, value, … to set.
        removed: fields to remove.
        feed_entry: field, value, … of an entry of the feed; empty for none.
    """


@script(reply=bool, at_limit=True)
def move_alias(*, alias: Key, current: str, wanted: str) -> None:
    """True when the alias stands for the wanted index now; False when it stood for a third one.

    Args:
        alias: the name that all searches use.
        current: the index it stood for when it was read.
        wanted: the index it is to stand for.
    """


def _job_id(raw: Any) -> str | None:
    return None if raw is None else as_text(raw)


@script(reply=_job_id, at_limit=True)
def steer(*, migration: Key, word: str, allow_missing: bool) -> None:
    """The id of the job whose re-embedding it is; None when none is under way.

    Args:
        migration: the state.
        word: pause or resume.
        allow_missing: switch although memories lack their vectors.
    """
