"""Dead letters: jobs, and chunks of batch jobs, that failed for good and wait for `replay` or `discard`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from emendo_client.errors import JobError
from emendo_client.exchanges.dead_letter_selection import PAYLOADS, DeadLetterFilter, groups, matching, read_page
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.jobs import no_job, shards_of
from emendo_client.models import DeadLetter
from emendo_client.records.jobs import DEAD_LETTER_FIELDS, JOB_FIELDS, dead_letter, job_document
from emendo_config import Keys, Settings, project_limits
from emendo_config.error_codes import ErrorCode
from emendo_config.queues import MAINTENANCE
from emendo_config.shards import queue_of
from emendo_config.store import scripts
from emendo_config.store.formats import job_of, woken_by
from emendo_config.store.pipeline import Command


def find(keys: Keys, project: str, wanted: DeadLetterFilter, limit: int) -> Exchange[list[DeadLetter]]:
    """The project's dead letters that match, newest first."""
    found: list[DeadLetter] = []
    highest, is_last = wanted.highest, False
    while not is_last and len(found) < limit:
        page = yield from read_page(keys, project, wanted.lowest, highest, newest_first=True)
        is_last = page.is_last
        if not is_last:
            highest = page.end
        chosen = yield from matching(keys, project, wanted, page.entries)
        newest = sorted(chosen, key=lambda letter: (letter.failed_at, letter.submitted), reverse=True)
        for group in groups(newest[: limit - len(found)], PAYLOADS):
            replies = yield RoundTrip(
                "control", [("HMGET", keys.job(letter.record_id), *DEAD_LETTER_FIELDS) for letter in group]
            )
            found += [letter for values in replies if (letter := dead_letter(values))]
    return found


def get(keys: Keys, project: str, job_id: str) -> Exchange[DeadLetter]:
    """One dead letter.

    Raises:
        JobNotFoundError: no such job. JobError: it is not a dead letter.
    """
    (values,) = yield RoundTrip("control", [("HMGET", keys.job(job_id), *DEAD_LETTER_FIELDS)])
    document = job_document(values[: len(JOB_FIELDS)])
    if document is None or document["project"] != project:
        raise no_job(job_id)
    letter = dead_letter(values)
    if letter is None:
        raise _not_dead(document["status"], job_id)
    return letter


def replay(settings: Settings, keys: Keys, project: str, job_id: str) -> Exchange[list[str]]:
    """Queues a dead letter again, of a batch job all its dead chunks; the shards to notify.

    Raises:
        JobNotFoundError: no such job. JobError: it is not a dead letter.
    """
    shards = yield from shards_of(keys, project, job_id)
    run_id = uuid.uuid4().hex
    replies = yield RoundTrip(
        "control",
        [
            replay_command(settings, keys, project, record_id, shard=shard, run_id=run_id, wakeup_id=run_id)
            for record_id, shard in shards.items()
        ],
    )
    replayed = scripts.replay.replies(replies)
    _require_one([each.outcome for each in replayed], "replayed", job_id)
    return shards_to_notify(shards.values(), replayed)


def discard(settings: Settings, keys: Keys, project: str, job_id: str) -> Exchange[None]:
    """Discards a dead letter, of a batch job all its dead chunks.

    Raises:
        JobNotFoundError: no such job. JobError: it is not a dead letter.
    """
    shards = yield from shards_of(keys, project, job_id)
    run_id = uuid.uuid4().hex
    replies = yield RoundTrip(
        "control", [discard_command(settings, keys, project, record_id, run_id=run_id) for record_id in shards]
    )
    _require_one(scripts.discard.replies(replies), "discarded", job_id)


def replay_command(
    settings: Settings,
    keys: Keys,
    project: str,
    record_id: str,
    *,
    shard: str,
    run_id: str,
    wakeup_id: str,
    failed_at: int | None = None,
) -> Command:
    """The command that replays one record."""
    return scripts.replay(
        record=keys.job(record_id),
        job=keys.job(job_of(record_id)),
        dead=keys.dead(project),
        unsorted_dead=keys.unsorted_dead,
        dead_projects=keys.dead_projects,
        inbox=keys.inbox(shard),
        wakeup=keys.wakeup(shard),
        shards=keys.shards,
        open_jobs=None if queue_of(shard) == MAINTENANCE else keys.open_jobs(project),
        dead_of_prefix=keys.dead_of(""),
        record_id=record_id,
        project=project,
        run=run_id,
        woken_by=woken_by(wakeup_id),
        wakeup_ttl_ms=settings.wakeup_ttl_ms,
        shard=shard,
        failed_at=failed_at,
        windows=project_limits.windows(keys, settings),
    )


def discard_command(
    settings: Settings, keys: Keys, project: str, record_id: str, *, run_id: str, failed_at: int | None = None
) -> Command:
    """The command that discards one record."""
    return scripts.discard(
        record=keys.job(record_id),
        job=keys.job(job_of(record_id)),
        dead=keys.dead(project),
        unsorted_dead=keys.unsorted_dead,
        dead_projects=keys.dead_projects,
        dead_of_prefix=keys.dead_of(""),
        record_id=record_id,
        project=project,
        run=run_id,
        ttl=settings.job_ttl,
        failed_at=failed_at,
    )


def shards_to_notify(shards: Iterable[str], replayed: Sequence[scripts.Replayed]) -> list[str]:
    """The shards that the replies of `replay.lua` ask to notify, each once."""
    return sorted({shard for shard, each in zip(shards, replayed, strict=True) if each.must_notify})


def _require_one(outcomes: Sequence[str], wanted: str, job_id: str) -> None:
    if wanted in outcomes:
        return
    if not outcomes or "unknown" in outcomes:
        raise no_job(job_id)
    raise _not_dead(outcomes[0], job_id)


def _not_dead(status: str, job_id: str) -> JobError:
    return JobError(
        f"the job is not a dead letter; it is {status}",
        error_code=ErrorCode.JOB_NOT_DEAD,
        details={"job_id": job_id, "status": status},
        suggestion="it may have been discarded; the dead letters of a batch job are its chunks: <job id>:<n>",
    )
