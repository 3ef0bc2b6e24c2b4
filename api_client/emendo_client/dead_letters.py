"""Dead letters: jobs, and chunks of batch jobs, that failed for good and wait for `replay` or `discard`.

One letter, a filtered listing, or a run over all that match. A run takes the letters that were there when it
began, oldest first, a page at a time: it holds one page however many there are, and a letter that dies again
meanwhile is younger than the run. Two runs at once share the letters between them, since `replay.lua` and
`discard.lua` let one of them win each.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from emendo_client import records, validation
from emendo_client.errors import JobError
from emendo_client.models import DeadLetter, DeadLetterProgress
from emendo_client.reads import no_job, shards_of
from emendo_client.records import DEAD_LETTER_FIELDS, job_of
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.compact import read_json
from emendo_config.redis_io import Command, as_text

T = TypeVar("T")
# Letters a run looks at in one round trip.
PAGE = 500
# Payloads read in one round trip; one of them may hold a thousand texts.
_PAYLOADS = 20
# What a letter is chosen and replayed by, without its payload.
_SIGNATURE = ("project", "kind", "memory_id", "error", "shard", "submitted")


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; None admits all.

    Attributes:
        after, before: microseconds; the letter died at or after the first and before the second.
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
    ) -> LetterFilter:
        """The caller's filter.

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
        """The range's lower end, as ZRANGE takes it."""
        return "-inf" if self.after is None else str(self.after)

    @property
    def highest(self) -> str:
        """The range's upper end, as ZRANGE takes it."""
        return "+inf" if self.before is None else f"({self.before}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a letter is chosen and replayed by; times in microseconds."""

    record_id: str
    died: int
    kind: str
    memory_id: str
    error_code: str
    shard: str
    submitted: int


@dataclass(slots=True)
class Run:
    """One run over many letters: what it asks for, and how far it is.

    Attributes:
        lowest, highest: the deaths it has not looked at yet, as ZRANGE takes them.
        total: letters of any project there were in its range when it began.
    """

    wanted: LetterFilter
    lowest: str
    highest: str
    total: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    examined: int = 0
    done: int = 0
    ended: bool = False

    @property
    def progress(self) -> DeadLetterProgress:
        """For the caller's `on_progress`."""
        return DeadLetterProgress(examined=self.examined, total=self.total, done=self.done)

    def turn(self, page: Sequence[tuple[str, int]], done: int) -> None:
        """The page was dealt with; only now, so that one that failed is not passed over."""
        self.examined += len(page)
        self.done += done
        self.ended = len(page) < PAGE
        if page:
            self.lowest = f"({page[-1][1]}"


def find(keys: Keys, project: str, wanted: LetterFilter, limit: int) -> Steps[list[DeadLetter]]:
    """The project's letters that match, newest first."""
    found: list[DeadLetter] = []
    highest, page_is_full = wanted.highest, True
    while page_is_full and len(found) < limit:
        page = yield from _page(keys, wanted.lowest, highest, newest_first=True)
        page_is_full = len(page) >= PAGE
        if page_is_full:
            highest = f"({page[-1][1]}"
        chosen = yield from _matching(keys, project, wanted, page)
        newest = sorted(chosen, key=lambda letter: (letter.died, letter.submitted), reverse=True)
        for group in _groups(newest[: limit - len(found)], _PAYLOADS):
            replies = yield Batch("control", [("HMGET", keys.job(one.record_id), *DEAD_LETTER_FIELDS) for one in group])
            found += [letter for values in replies if (letter := records.dead_letter(values))]
    return found


def get(keys: Keys, project: str, job_id: str) -> Steps[DeadLetter]:
    """One letter.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    (values,) = yield Batch("control", [("HMGET", keys.job(job_id), *DEAD_LETTER_FIELDS)])
    document = records.job_document(values[: len(records.JOB_FIELDS)])
    if document is None or document["project"] != project:
        raise no_job(job_id)
    letter = records.dead_letter(values)
    if letter is None:
        raise _not_dead(document["status"], job_id)
    return letter


def replay(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[list[str]]:
    """Puts a letter back to work, of a batch job all its dead chunks; the shards to ring.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    shards = yield from shards_of(keys, project, job_id)
    run_id = uuid.uuid4().hex
    replies = yield Batch(
        "control",
        [
            _replay(settings, keys, project, record_id, shard=shard, run_id=run_id, ring_id=run_id)
            for record_id, shard in shards.items()
        ],
    )
    _require_one([as_text(word) for word, _ in replies], "replayed", job_id)
    return _rings(shards.values(), replies)


def discard(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[None]:
    """Gives a letter up, of a batch job all its dead chunks.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    shards = yield from shards_of(keys, project, job_id)
    run_id = uuid.uuid4().hex
    replies = yield Batch(
        "control", [_discard(settings, keys, project, record_id, run_id=run_id) for record_id in shards]
    )
    _require_one([as_text(word) for word in replies], "discarded", job_id)


def begin(keys: Keys, wanted: LetterFilter) -> Steps[Run]:
    """A run over the letters there are now; turn it with `replay_page` or `discard_page` until it has ended."""
    (time,) = yield Batch("control", [("TIME",)])  # the clock that letters are dated with
    now = int(time[0]) * 1_000_000 + int(time[1])
    highest = wanted.highest if wanted.before is not None and wanted.before <= now else str(now)
    (total,) = yield Batch("control", [("ZCOUNT", keys.dead, wanted.lowest, highest)])
    return Run(wanted, wanted.lowest, highest, int(total))


def replay_page(settings: Settings, keys: Keys, project: str, run: Run) -> Steps[list[str]]:
    """Puts the run's next page back to work, in the order of submission; the shards to ring."""
    page = yield from _page(keys, run.lowest, run.highest, newest_first=False)
    chosen = yield from _matching(keys, project, run.wanted, page)
    letters = sorted(chosen, key=lambda letter: letter.submitted)
    ring_id = uuid.uuid4().hex  # new for each page: a bell the last page rang is not rung again
    replies = yield Batch(
        "control",
        [
            _replay(
                settings, keys, project, one.record_id, shard=one.shard, run_id=run.id, ring_id=ring_id, died=one.died
            )
            for one in letters
        ],
    )
    run.turn(page, sum(as_text(word) == "replayed" for word, _ in replies))
    return _rings([letter.shard for letter in letters], replies)


def discard_page(settings: Settings, keys: Keys, project: str, run: Run) -> Steps[None]:
    """Gives the run's next page up."""
    page = yield from _page(keys, run.lowest, run.highest, newest_first=False)
    chosen = yield from _matching(keys, project, run.wanted, page)
    replies = yield Batch(
        "control", [_discard(settings, keys, project, one.record_id, run_id=run.id, died=one.died) for one in chosen]
    )
    run.turn(page, sum(as_text(word) == "discarded" for word in replies))


def _page(keys: Keys, lowest: str, highest: str, *, newest_first: bool) -> Steps[list[tuple[str, int]]]:
    """The next letters at one end of the range, as (record id, microsecond it died); at least PAGE unless they run out.

    All that died in one microsecond are on one page (a drain buries a whole batch at once), so that the next page
    begins after it, whatever was taken away meanwhile.
    """
    ends = (highest, lowest, "BYSCORE", "REV") if newest_first else (lowest, highest, "BYSCORE")
    (reply,) = yield Batch("control", [("ZRANGE", keys.dead, *ends, "LIMIT", 0, PAGE, "WITHSCORES")])
    page = [(as_text(record_id), int(float(died))) for record_id, died in zip(reply[::2], reply[1::2], strict=True)]
    if len(page) == PAGE:
        last = page[-1][1]
        (peers,) = yield Batch("control", [("ZRANGE", keys.dead, last, last, "BYSCORE")])
        seen = {record_id for record_id, _ in page}
        page += [(as_text(peer), last) for peer in peers if as_text(peer) not in seen]
    return page


def _matching(keys: Keys, project: str, wanted: LetterFilter, page: list[tuple[str, int]]) -> Steps[list[Signature]]:
    """Those of the page that are the project's and match the filter."""
    replies = yield Batch("control", [("HMGET", keys.job(record_id), *_SIGNATURE) for record_id, _ in page])
    chosen = [
        letter
        for (record_id, died), values in zip(page, replies, strict=True)
        if (letter := _signature(record_id, died, values, project)) and _admits(wanted, letter)
    ]
    if wanted.memory_id is None:
        return chosen
    found = [letter for letter in chosen if letter.memory_id == wanted.memory_id]
    for group in _groups([letter for letter in chosen if not letter.memory_id], _PAYLOADS):
        payloads = yield Batch("control", [("HMGET", keys.job(letter.record_id), "payload") for letter in group])
        found += [
            letter for letter, (payload,) in zip(group, payloads, strict=True) if _names(payload, wanted.memory_id)
        ]
    return found


def _signature(record_id: str, died: int, values: Sequence[Any], project: str) -> Signature | None:
    fields = dict(zip(_SIGNATURE, map(as_text, values), strict=True))
    if fields["project"] != project:
        return None
    return Signature(
        record_id=record_id,
        died=died,
        kind=fields["kind"],
        memory_id=fields["memory_id"],
        error_code=read_json(fields["error"])["code"] if fields["error"] else "",
        shard=fields["shard"],
        submitted=int(fields["submitted"]),
    )


def _admits(wanted: LetterFilter, letter: Signature) -> bool:
    return wanted.kind in (None, letter.kind) and wanted.error_code in (None, letter.error_code)


def _names(payload: bytes | None, memory_id: str) -> bool:
    """True when one of several operations is on the memory; a job of one operation says so in its record."""
    return payload is not None and any(
        operation.get("memory_id") == memory_id for operation in read_json(payload)["operations"]
    )


def _replay(
    settings: Settings,
    keys: Keys,
    project: str,
    record_id: str,
    *,
    shard: str,
    run_id: str,
    ring_id: str,
    died: int | None = None,
) -> Command:
    """→ [b"replayed", ring?] or [the reason it was not, 0]."""
    return script(
        "replay",
        [
            keys.job(record_id),
            keys.job(job_of(record_id)),
            keys.dead,
            keys.inbox(shard),
            keys.bell(shard),
            keys.shards,
        ],
        [record_id, project, run_id, ring_id, int(settings.ring_ttl * 1000), shard, "" if died is None else died],
    )


def _discard(
    settings: Settings, keys: Keys, project: str, record_id: str, *, run_id: str, died: int | None = None
) -> Command:
    """→ b"discarded", or the reason it was not."""
    return script(
        "discard",
        [keys.job(record_id), keys.job(job_of(record_id)), keys.dead],
        [record_id, project, run_id, settings.job_ttl, "" if died is None else died],
    )


def _rings(shards: Iterable[str], replies: Sequence[Any]) -> list[str]:
    """The shards to ring, each once, from the answers of `replay.lua`."""
    return sorted({shard for shard, (_, ring) in zip(shards, replies, strict=True) if ring})


def _require_one(words: Sequence[str], wanted: str, job_id: str) -> None:
    if wanted in words:
        return
    if not words or "unknown" in words:
        raise no_job(job_id)
    raise _not_dead(words[0], job_id)


def _not_dead(status: str, job_id: str) -> JobError:
    return JobError(
        f"the job is not a dead letter; it is {status}",
        error_code="JOB_NOT_DEAD",
        details={"job_id": job_id, "status": status},
        suggestion="a letter that was discarded is none any more; a batch job's letters are its chunks' (<job id>:<n>)",
    )


def _microseconds(value: datetime | str | None, name: str) -> int | None:
    return None if value is None else validation.moment(value, name)


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))
