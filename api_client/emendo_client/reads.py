"""The reads, each one conversation (see `steps`): get, get_all, search, history, jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emendo_client import records
from emendo_client.errors import ConflictError, JobNotFoundError, MemoryNotFoundError
from emendo_client.filters import Filter
from emendo_client.models import Conflict, HistoryEntry, JobInfo, JobStatus, Memory, Page, Progress, SearchHit
from emendo_client.records import JOB_FIELDS, MEMORY_FIELDS, split_conflict_id
from emendo_client.reembedding.reading import migration
from emendo_client.steps import Batch, Steps
from emendo_config import Keys, Settings
from emendo_config.index import find_active, vector_field
from emendo_config.redis_io import Command, as_text
from emendo_config.registry import SpaceRecord, registered_spaces

DIALECT = ("DIALECT", 2)
MAX_PAGE_SIZE = 1_000
MAX_PAGE = 1_000_000
MAX_SEARCH_LIMIT = 1_000
# Times a search is made when another embedding space became the active one meanwhile, or Redis refused it.
SEARCH_ATTEMPTS = 3
_JOBS_AT_A_TIME = 200


def get(keys: Keys, project: str, memory_id: str, *, include_deleted: bool) -> Steps[Memory]:
    """One memory by its id."""
    (values,) = yield Batch("data", [("HMGET", keys.memory(memory_id), *MEMORY_FIELDS)])
    memory = records.visible_memory(values, project, include_deleted=include_deleted)
    if memory is None:
        raise no_memory(memory_id)
    return memory


def history(keys: Keys, project: str, memory_id: str) -> Steps[list[HistoryEntry]]:
    """Every change of one memory, oldest first; also of a deleted one."""
    owner, entries = yield Batch(
        "data",
        [
            ("HMGET", keys.memory(memory_id), "project"),
            ("XRANGE", keys.history(memory_id), "-", "+"),
        ],
    )
    if as_text(owner[0]) != project:
        raise no_memory(memory_id)
    return [records.history_entry(memory_id, entry_id, raw) for entry_id, raw in entries]


def get_all(keys: Keys, wanted: Filter, page: int, page_size: int) -> Steps[Page]:
    """One page of memories, newest first."""
    (reply,) = yield Batch(
        "data",
        [
            (
                *("FT.SEARCH", keys.index_alias, wanted.expression),
                *("PARAMS", len(wanted.parameters), *wanted.parameters),
                *("SORTBY", "created_at", "DESC"),
                *("LIMIT", (page - 1) * page_size, page_size),
                *("RETURN", len(MEMORY_FIELDS), *MEMORY_FIELDS),
                *DIALECT,
            )
        ],
    )
    total, found = records.memories_found(reply, scored=False)
    return Page(results=found, total=total, page=page, page_size=page_size)


def active_space(keys: Keys, settings: Settings) -> Steps[SpaceRecord]:
    """The embedding space that is searched: the one whose index the alias stands for.

    Raises:
        ConfigurationError: the alias stands for an index of no registered space.
    """
    info, registry = yield Batch("data", [("FT.INFO", keys.index_alias), ("HGETALL", keys.spaces)])
    return find_active(vector_field(info), registered_spaces(registry, settings))


def search(
    keys: Keys, wanted: Filter, field: str, vector: bytes, limit: int, *, metric: str = "cosine"
) -> Steps[list[SearchHit]]:
    """The memories nearest to `vector`, nearest first.

    Redis refuses it when the alias stands for an index that does not have the field.

    Args:
        keys: key names.
        wanted: the scope.
        field: of the active space.
        vector: in that space, datatype[dimensions].
        limit: how many, at most.
        metric: of that space.
    """
    (reply,) = yield Batch("data", [nearest(keys, wanted, field, vector, limit)])
    return records.memories_found(reply, scored=True, metric=metric)[1]


def nearest(keys: Keys, wanted: Filter, field: str, vector: bytes, limit: int) -> Command:
    """The command whose reply `records.memories_found` reads as SearchHit objects; see `search`."""
    parameters = [*wanted.parameters, "vector", vector, "limit", limit]
    returned = [*MEMORY_FIELDS, "distance"]
    return (
        "FT.SEARCH",
        keys.index_alias,
        f"{wanted.expression}=>[KNN $limit @{field} $vector AS distance]",
        *("PARAMS", len(parameters), *parameters),
        *("SORTBY", "distance", "ASC"),
        *("LIMIT", 0, limit),
        *("RETURN", len(returned), *returned),
        *DIALECT,
    )


def job(keys: Keys, project: str, job_id: str) -> Steps[JobInfo]:
    """One job's record."""
    document = yield from _job_document(keys, project, job_id)
    return records.job_info(document)


def progress(keys: Keys, project: str, job_id: str) -> Steps[Progress]:
    """How many of a job's items are done."""
    document = yield from _job_document(keys, project, job_id)
    status, total = JobStatus(document["status"]), document["items"]
    if document["kind"] == "reembed":
        far = yield from migration(keys, grace=0)
        if far is not None and far.job_id == job_id:
            found = far.model_dump(include={"done", "total", "phase", "failed", "rate", "eta"})
            return Progress(status=status, **found)
    done = total if status.is_final else document["done"]
    return Progress(done=done, total=total, status=status)


def jobs(keys: Keys, project: str, status: JobStatus | None, limit: int) -> Steps[list[JobInfo]]:
    """The project's newest jobs, newest first."""
    found: list[JobInfo] = []
    seen: set[Any] = set()
    start = 0
    while len(found) < limit:
        (ids,) = yield Batch("control", [("ZREVRANGE", keys.jobs(project), start, start + _JOBS_AT_A_TIME - 1)])
        if not ids:
            break
        start += len(ids)
        fresh = [job_id for job_id in ids if job_id not in seen]  # a submission meanwhile moves all others down
        seen.update(fresh)
        replies = yield Batch("control", _record_reads(keys, fresh))
        found += (info for info in _infos(replies, project) if status is None or info.status == status)
    return found[:limit]


def conflicts(keys: Keys, project: str, limit: int) -> Steps[list[Conflict]]:
    """The project's conflicts that wait for a person, newest first."""
    (listed,) = yield Batch("control", [("ZREVRANGE", keys.conflicts(project), 0, limit - 1, "WITHSCORES")])
    moments = dict(zip(map(as_text, listed[::2]), listed[1::2], strict=True))
    if not moments:
        return []
    commands: list[Command] = []
    for conflict_id in moments:
        memory_id, mark = split_conflict_id(conflict_id)
        commands.append(("HGET", keys.conflict(memory_id), mark))
        commands.append(("HMGET", keys.memory(memory_id), *MEMORY_FIELDS))
    replies = iter((yield Batch("data", commands)))
    found = [
        records.conflict(conflict_id, int(moment), next(replies), next(replies))
        for conflict_id, moment in moments.items()
    ]
    return [conflict for conflict in found if conflict is not None]  # resolved, or erased, a moment ago


def conflict(keys: Keys, project: str, conflict_id: str) -> Steps[Conflict]:
    """One conflict that waits for a person.

    Raises:
        ConflictError: (NO_SUCH_CONFLICT) it does not wait in this project, or not any more.
    """
    memory_id, mark = split_conflict_id(conflict_id)
    (moment,) = yield Batch("control", [("ZSCORE", keys.conflicts(project), conflict_id)])
    if moment is None:
        raise no_conflict(conflict_id)
    document, values = yield Batch(
        "data", [("HGET", keys.conflict(memory_id), mark), ("HMGET", keys.memory(memory_id), *MEMORY_FIELDS)]
    )
    found = records.conflict(conflict_id, int(moment), document, values)
    if found is None:
        raise no_conflict(conflict_id)
    return found


def _job_document(keys: Keys, project: str, job_id: str) -> Steps[dict[str, Any]]:
    (values,) = yield Batch("control", [("HMGET", keys.job(job_id), *JOB_FIELDS)])
    document = records.job_document(values)
    if document is None or document["project"] != project:
        raise no_job(job_id)
    return document


def _record_reads(keys: Keys, ids: list[Any]) -> list[Command]:
    return [("HMGET", keys.job(as_text(job_id)), *JOB_FIELDS) for job_id in ids]


def _infos(replies: list[Any], project: str) -> Iterator[JobInfo]:
    for values in replies:
        document = records.job_document(values)
        if document is not None and document["project"] == project:
            yield records.job_info(document)


def no_conflict(conflict_id: str) -> ConflictError:
    """The error for a conflict id under which nothing waits."""
    return ConflictError(
        "no such conflict waits",
        error_code="NO_SUCH_CONFLICT",
        details={"conflict_id": conflict_id},
        suggestion="it may be resolved already; conflicts() lists those that wait",
    )


def no_job(job_id: str) -> JobNotFoundError:
    """The error for a job id this project does not have."""
    return JobNotFoundError(
        "no such job in this project",
        details={"job_id": job_id},
        suggestion="it was never accepted, or its record expired after EMENDO_JOB_TTL",
    )


def no_memory(memory_id: str) -> MemoryNotFoundError:
    """The error for a memory id this project does not have."""
    return MemoryNotFoundError(
        "no such memory in this project",
        details={"memory_id": memory_id},
        suggestion="it may be deleted: restore(memory_id) brings a deleted memory back",
    )


def shards_of(keys: Keys, project: str, job_id: str) -> Steps[dict[str, str]]:
    """The records a job is worked by, and their shards: its own, or its chunks', or, re-embedding, both."""
    (found,) = yield Batch("control", [("HMGET", keys.job(job_id), "shard", "chunks", "project")])
    shard, chunks, owner = map(as_text, found)
    if owner != project:
        raise no_job(job_id)
    own = {job_id: shard} if shard else {}
    if not int(chunks or 0):
        return own
    chunk_ids = [f"{job_id}:{number}" for number in range(int(chunks))]
    replies = yield Batch("control", [("HGET", keys.job(chunk_id), "shard") for chunk_id in chunk_ids])
    found = {chunk_id: as_text(reply) for chunk_id, reply in zip(chunk_ids, replies, strict=True) if reply is not None}
    return own | found
