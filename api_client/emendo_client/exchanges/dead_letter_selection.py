"""The selection of dead letters: the caller's filter, pages of the listing, and the records that match.

The sorted set `emendo:dead:<project>` lists the records of dead letters by the microsecond at which they failed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.records.jobs import require_record, stored_document, stored_number, stored_operations
from emendo_client.requests import validation
from emendo_config import Keys
from emendo_config.store.format_versions import FORMAT
from emendo_config.store.pipeline import as_text

T = TypeVar("T")
# Dead letters read in one round trip, without their payloads.
PAGE = 500
# Payloads read in one round trip; one of them may hold a thousand texts.
PAYLOADS = 20
# The record fields that select and replay a dead letter.
_HEAD_FIELDS = ("project", "kind", "memory_id", "error", "shard", "submitted", FORMAT)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """The caller's filter; None admits all.

    Attributes:
        after, before: microseconds; the job failed at or after the first and before the second.
    """

    kind: str | None = None
    error_code: str | None = None
    memory_id: str | None = None
    after: int | None = None
    before: int | None = None

    @classmethod
    def checked(
        cls,
        *,
        kind: str | None,
        error_code: str | None,
        memory_id: str | None,
        before: datetime | str | None,
        after: datetime | str | None,
    ) -> DeadLetterFilter:
        """The filter from the caller's arguments.

        Raises:
            ValidationError
        """
        return cls(
            kind=validation.opaque_key(kind, "kind"),
            error_code=validation.opaque_key(error_code, "error_code"),
            memory_id=None if memory_id is None else validation.memory_id(memory_id),
            after=_microseconds(after, "after"),
            before=_microseconds(before, "before"),
        )

    @property
    def lowest(self) -> str:
        """The lower end of the time range, as ZRANGE takes it."""
        return "-inf" if self.after is None else str(self.after)

    @property
    def highest(self) -> str:
        """The upper end of the time range, as ZRANGE takes it."""
        return "+inf" if self.before is None else f"({self.before}"


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """One page of the listing.

    Attributes:
        entries: record id of each dead letter, and the microsecond at which it failed.
        is_last: True when the range holds no further dead letters.
    """

    entries: list[tuple[str, int]]
    is_last: bool

    @property
    def end(self) -> str:
        """The end of this page as the open end of the next one, as ZRANGE takes it."""
        return f"({self.entries[-1][1]}"


@dataclass(frozen=True, slots=True)
class DeadLetterHead:
    """The part of a record that selects and replays a dead letter; times in microseconds."""

    record_id: str
    failed_at: int
    kind: str
    memory_id: str
    error_code: str
    shard: str
    submitted: int


def lists(keys: Keys, project: str) -> tuple[str, str]:
    """The lists that may hold dead letters of the project: the one that earlier releases keep for all, and its own.

    Read them in this order, so that no dead letter is missed that housekeeping moves meanwhile.
    """
    return keys.unsorted_dead, keys.dead(project)


def read_page(keys: Keys, project: str, lowest: str, highest: str, *, newest_first: bool) -> Exchange[DeadLetterPage]:
    """The next dead letters at one end of the time range.

    A drain records a whole batch at once, so many dead letters may have the same microsecond. All of them are on one
    page. So the next page can begin after it, even if other callers remove dead letters meanwhile.
    """
    ends = (highest, lowest, "BYSCORE", "REV") if newest_first else (lowest, highest, "BYSCORE")
    names = lists(keys, project)
    replies = yield RoundTrip("control", [("ZRANGE", name, *ends, "LIMIT", 0, PAGE, "WITHSCORES") for name in names])
    found = [_scored(reply) for reply in replies]
    full = [entries[-1][1] for entries in found if len(entries) >= PAGE]
    # One that housekeeping moves between the two reads is on both.
    letters = dict(itertools.chain.from_iterable(found))
    if not full:
        return DeadLetterPage(_in_order(letters, newest_first=newest_first), is_last=True)
    # A list that goes on says nothing beyond its last entry, so the page ends there.
    last = max(full) if newest_first else min(full)
    letters = {each: at for each, at in letters.items() if (at >= last if newest_first else at <= last)}
    peers = yield RoundTrip("control", [("ZRANGE", name, last, last, "BYSCORE") for name in names])
    letters |= {as_text(peer): last for peer in itertools.chain.from_iterable(peers)}
    return DeadLetterPage(_in_order(letters, newest_first=newest_first), is_last=False)


def matching(
    keys: Keys, project: str, wanted: DeadLetterFilter, entries: Sequence[tuple[str, int]]
) -> Exchange[list[DeadLetterHead]]:
    """The dead letters that belong to the project and match the filter."""
    replies = yield RoundTrip("control", [("HMGET", keys.job(record_id), *_HEAD_FIELDS) for record_id, _ in entries])
    chosen = [
        letter
        for (record_id, failed_at), values in zip(entries, replies, strict=True)
        if (letter := _head(record_id, failed_at, values, project)) and _admits(wanted, letter)
    ]
    if wanted.memory_id is None:
        return chosen
    found = [letter for letter in chosen if letter.memory_id == wanted.memory_id]
    for group in groups([letter for letter in chosen if not letter.memory_id], PAYLOADS):
        payloads = yield RoundTrip("control", [("HMGET", keys.job(letter.record_id), "payload") for letter in group])
        found += [
            letter for letter, (payload,) in zip(group, payloads, strict=True) if _names(payload, wanted.memory_id)
        ]
    return found


def groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in groups of `size`; the last group may be smaller."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _scored(reply: Sequence[Any]) -> list[tuple[str, int]]:
    return [(as_text(record_id), int(float(score))) for record_id, score in zip(reply[::2], reply[1::2], strict=True)]


def _in_order(letters: Mapping[str, int], *, newest_first: bool) -> list[tuple[str, int]]:
    return sorted(letters.items(), key=lambda letter: letter[1], reverse=newest_first)


def _head(record_id: str, failed_at: int, values: Sequence[Any], project: str) -> DeadLetterHead | None:
    fields = dict(zip(_HEAD_FIELDS, map(as_text, values), strict=True))
    if fields["project"] != project:
        return None
    require_record(fields[FORMAT])
    return DeadLetterHead(
        record_id=record_id,
        failed_at=failed_at,
        kind=fields["kind"],
        memory_id=fields["memory_id"],
        error_code=str(stored_document(fields["error"]).get("code", "")),
        shard=fields["shard"],
        submitted=stored_number(fields["submitted"]),
    )


def _admits(wanted: DeadLetterFilter, letter: DeadLetterHead) -> bool:
    return wanted.kind in (None, letter.kind) and wanted.error_code in (None, letter.error_code)


def _names(payload: Any, memory_id: str) -> bool:
    """True when the payload has an operation on the memory, or names it and cannot be read.

    Only the record of a one-operation job names its memory.
    """
    operations = stored_operations(payload)
    if operations is None:
        return memory_id in as_text(payload)
    return any(operation.get("memory_id") == memory_id for operation in operations)


def _microseconds(value: datetime | str | None, name: str) -> int | None:
    return None if value is None else validation.moment(value, name)
