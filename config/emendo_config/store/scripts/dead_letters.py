"""Scripts about dead letters: back to work, discarded, redacted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_config.error_codes import ErrorCode
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.declaration import (
    Key,
    KeyList,
    OptionalKey,
    OptionalNumber,
    Values,
    script,
)


@script(reply=bool, at_limit=True)
def redact(*, record: Key, field: str, stored: str | bytes, kept: str | bytes) -> None:
    """True when `kept` has replaced the record's field, which was still `stored`."""


class Replayed(NamedTuple):
    """The result of `replay`.

    Attributes:
        outcome: replayed; else unknown, or the status of a record that is no dead letter.
        must_notify: the caller must publish a drain.
    """

    outcome: str
    must_notify: bool

    @classmethod
    def read(cls, raw: Sequence[Any]) -> Replayed:
        """From the reply of Redis."""
        outcome, must_notify = raw
        return cls(as_text(outcome), bool(must_notify))


@script(
    reply=Replayed.read,
    constants={"refused": [code.value for code in ErrorCode if not code.is_replayable]},
    shared=("allowed", "fields_of", "dead_letter", "account", "project_windows"),
    at_limit=True,
)
def replay(
    *,
    record: Key,
    job: Key,
    dead: Key,
    unsorted_dead: Key,
    dead_projects: Key,
    inbox: Key,
    wakeup: Key,
    shards: Key,
    open_jobs: OptionalKey = None,
    dead_of_prefix: str,
    record_id: str,
    project: str,
    run: str,
    woken_by: str,
    wakeup_ttl_ms: int,
    shard: str,
    failed_at: OptionalNumber,
    windows: Values = (),
) -> None:
    """Puts one dead letter back to work.

    Args:
        record, job: as in `Attempt`.
        dead: the project's dead letters.
        unsorted_dead: the dead letters of all projects, as earlier releases list them.
        dead_projects: the projects that have dead letters.
        inbox, wakeup, shards: the shard's keys; the set of shards.
        dead_of_prefix: `Keys.dead_of` of nothing.
        open_jobs, windows: as for `accept`.
        record_id, project, shard: the record's.
        run: the id of the call that this replay belongs to.
        woken_by, wakeup_ttl_ms: as for `accept`.
        failed_at: when the job failed, as the caller saw it (microseconds); None for whenever.
    """


@script(reply=as_text, shared=("allowed", "fields_of", "dead_letter", "account"), at_limit=True)
def discard(
    *,
    record: Key,
    job: Key,
    dead: Key,
    unsorted_dead: Key,
    dead_projects: Key,
    dead_of_prefix: str,
    record_id: str,
    project: str,
    run: str,
    ttl: int,
    failed_at: OptionalNumber,
) -> None:
    """Replies `discarded`, `unknown`, or the status of a record that is no dead letter.

    Args:
        record, job, dead, unsorted_dead, dead_projects, dead_of_prefix: as for `replay`.
        record_id, project, run, failed_at: as for `replay`.
        ttl: seconds the record is kept.
    """


@script(reply=bool, at_limit=True)
def adopt(
    *,
    record: Key,
    dead: Key,
    unsorted_dead: Key,
    dead_projects: Key,
    record_id: str,
    project: str,
    memories: str,
    dead_of: KeyList,
) -> None:
    """True when the dead letter was moved to its project's list.

    Args:
        record, dead, unsorted_dead, dead_projects, record_id, project: as for `replay`.
        memories: the ids of the memories that its payload names, as JSON.
        dead_of: the index's keys of these memories.
    """
