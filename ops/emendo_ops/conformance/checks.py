"""The checks. Each takes the server as one caller, returns a line on what held, or raises what did not.

They send first and ask later, so that whatever can race does. None measures time.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from itertools import pairwise

from emendo_ops.conformance.dialect import Change, Dialect, Record, Write

CONCURRENT = 16
_ROUNDS = 8
_NOT_CHANGES = ("SUPERSEDED",)


class Violation(Exception):  # noqa: N818  # a finding, not a defect of this program
    """The server does not have the property; the text says what was seen."""


class Skip(Exception):  # noqa: N818
    """The property cannot be examined; the text says why."""


async def lost_update(server: Dialect, _: Dialect | None) -> str:
    """Updates of one memory at the same time all survive."""
    memory_id = await server.add("A memory that many change at once.", _user())
    open_keys = {f"key{number}": number for number in range(CONCURRENT)}
    told: dict[str, int] = {}
    while open_keys:
        sent = list(open_keys.items())
        ends = await server.ends([server.begin_update(memory_id, metadata={key: value}) for key, value in sent])
        done = {pair[0]: pair[1] for pair, end in zip(sent, ends, strict=True) if end.succeeded}
        if not done:
            raise Violation(f"{len(open_keys)} of {CONCURRENT} concurrent updates never succeeded ({_refusals(ends)})")
        told |= done
        open_keys = {key: value for key, value in open_keys.items() if key not in done}
    kept = (await _read(server, memory_id)).metadata
    lost = [key for key, value in told.items() if kept.get(key) != value]
    if lost:
        raise Violation(f"{CONCURRENT} concurrent updates succeeded, and {len(lost)} of them are lost")
    return f"{CONCURRENT} concurrent updates, and all are there"


async def resurrection(server: Dialect, _: Dialect | None) -> str:
    """A deleted memory stays away, whatever updates race with its deletion."""
    user = _user()
    ids = await asyncio.gather(*(server.add(f"Memory {number}, soon deleted.", user) for number in range(_ROUNDS)))

    async def race(number: int, memory_id: str) -> Write:
        updates = [server.begin_update(memory_id, text=f"Memory {number} as of update {each}.") for each in range(4)]
        # The deletion's place among the updates differs from memory to memory.
        place = number % (len(updates) + 1)
        ends = await server.ends([*updates[:place], server.begin_delete(memory_id), *updates[place:]])
        return ends[place]

    deletions = await asyncio.gather(*(race(number, memory_id) for number, memory_id in enumerate(ids)))
    gone = [memory_id for memory_id, deletion in zip(ids, deletions, strict=True) if deletion.succeeded]
    if not gone:
        raise Violation(f"none of {_ROUNDS} deletions succeeded beside updates ({_refusals(deletions)})")
    late = await server.ends([server.begin_update(memory_id, text="Too late.") for memory_id in gone])
    if any(write.succeeded for write in late):
        raise Violation("an update of a deleted memory is reported as done")
    listed = await server.texts(user)
    alive = [memory_id for memory_id in gone if memory_id in listed or await server.read(memory_id) is not None]
    if alive:
        raise Violation(f"{len(alive)} of {len(gone)} deleted memories are back")
    return f"{len(gone)} memories deleted beside updates, and none came back"


async def gapless_history(server: Dialect, _: Dialect | None) -> str:
    """Every change has one entry in the history, in an order without gaps."""
    text = "A memory whose changes are followed."
    memory_id = await server.add(text, _user())
    writes = [server.begin_update(memory_id, text=f"Its text number {number}.") for number in range(_ROUNDS)]
    done = [write for write in await server.ends(writes) if write.succeeded]
    memory, changes = await _read(server, memory_id), await server.history(memory_id)
    if not changes or changes[0].new != text:
        raise Violation("the history does not begin with the memory's first text")
    _check_chain(changes, memory.text)
    if memory.version is None:
        return f"{len(changes)} entries, each from where the one before ended"
    versions = [change.version for change in changes]
    if versions != list(range(1, len(changes) + 1)) or memory.version != len(changes):
        raise Violation(f"the memory has version {memory.version}, and its history {_numbers(versions)}")
    if len(changes) != len(done) + 1:
        raise Violation(f"{len(done)} updates succeeded, and the history has {len(changes) - 1} of them")
    return f"{len(changes)} entries with versions 1 to {len(changes)}, each from where the one before ended"


async def tenant_crossing(server: Dialect, other: Dialect | None) -> str:
    """A key of another project neither sees nor changes anything."""
    if other is None:
        raise Skip("it needs a key of another project: --other-key")
    user, text = _user(), "A memory of the first project only."
    write = await server.begin_add(text, user)
    job, memory_id = write, (await server.end(write)).memory_id
    before = await _read(server, memory_id)
    if await other.read(memory_id) is not None:
        raise Violation("the other key reads the memory")
    if await other.history(memory_id):
        raise Violation("the other key reads the memory's history")
    if memory_id in await other.texts(user):
        raise Violation("the other key lists the memory")
    if job.job and await other.look(job) is not None:
        raise Violation("the other key reads the job")
    attempts = [other.begin_update(memory_id, text="Taken over."), other.begin_delete(memory_id)]
    if any(attempt.succeeded for attempt in await other.ends(attempts)):
        raise Violation("a change by the other key is reported as done")
    if await server.read(memory_id) != before:
        raise Violation("the other key changed the memory")
    mine = await other.add("A memory of the second project only.", user)
    if mine in await server.texts(user):
        raise Violation("the first key lists a memory of the other key")
    return "the other key reads, lists and changes nothing"


async def idempotent_retry(server: Dialect, _: Dialect | None) -> str:
    """A request that is sent again with its `Idempotency-Key` has its effect once."""
    user, key, text = _user(), uuid.uuid4().hex, "A memory that is sent several times."
    await server.ends([server.begin_add(text, user, key) for _ in range(4)])
    again = await server.end(await server.begin_add(text, user, key))
    found = await server.texts(user)
    if len(found) != 1:
        raise Violation(f"5 requests with one Idempotency-Key made {len(found)} memories")
    if again.memory_id not in found:
        raise Violation("the repeated request is not answered with the memory that the first one made")
    different = await server.end(await server.begin_add("Another text with the same key.", user, key))
    if await server.texts(user) != found:
        raise Violation("another text with a used Idempotency-Key is stored")
    if not different.refused:
        raise Violation("another text with a used Idempotency-Key is not refused")
    return f"5 requests made one memory, and another text with their key is refused ({different.refused})"


async def truth_in_status(server: Dialect, _: Dialect | None) -> str:
    """An accepted job is known, a write that is "done" can be read, and one without effect is not "done"."""
    user = _user()
    writes = await asyncio.gather(*(server.begin_add(f"Statement {number}.", user) for number in range(_ROUNDS)))

    async def looked(write: Write) -> Write:
        found = await server.look(write) if write.job else write
        if found is None:
            raise Violation("an accepted job is unknown right after the answer")
        return found

    async def added(number: int, write: Write) -> str:
        memory_id = (await server.end(write)).memory_id
        memory = await server.read(memory_id)
        if memory is None or memory.text != f"Statement {number}.":
            raise Violation("an add is reported as done, and its memory cannot be read")
        if memory_id not in await server.texts(user):
            raise Violation("an add is reported as done, and no list has its memory")
        return memory_id

    async def updated(number: int, memory_id: str) -> None:
        text = f"Statement {number}, corrected."
        write = await server.end(await server.begin_update(memory_id, text=text))
        if write.succeeded and (await _read(server, memory_id)).text != text:
            raise Violation("an update is reported as done, and a read shows the old text")

    first_looks = await asyncio.gather(*(looked(write) for write in writes))
    ids = await asyncio.gather(*(added(number, write) for number, write in enumerate(first_looks)))
    await asyncio.gather(*(updated(number, memory_id) for number, memory_id in enumerate(ids)))
    nobody = str(uuid.uuid4())
    if (await server.end(await server.begin_update(nobody, text="Of nothing."))).succeeded:
        raise Violation("an update of a memory that never was is reported as done")
    if await server.read(nobody) is not None:
        raise Violation("an update of a memory that never was has made one")
    return f"{_ROUNDS} adds and {_ROUNDS} updates could be read as soon as they were reported as done"


CHECKS = {
    "lost update": lost_update,
    "resurrection": resurrection,
    "gapless history": gapless_history,
    "tenant crossing": tenant_crossing,
    "idempotent retry": idempotent_retry,
    "truth in status": truth_in_status,
}


def _user() -> str:
    return f"conformance-{uuid.uuid4().hex[:12]}"


async def _read(server: Dialect, memory_id: str) -> Record:
    found = await server.read(memory_id)
    if found is None:
        raise Violation("a memory that was just written cannot be read")
    return found


def _check_chain(changes: Sequence[Change], text: str) -> None:
    """Checks that each change begins with the text that the one before left, and that the last left the memory's."""
    effective = [change for change in changes if change.event not in _NOT_CHANGES]
    for earlier, later in pairwise(effective):
        if later.old != earlier.new:
            raise Violation("two entries of the history do not fit: a change between them is missing or in it twice")
    if effective[-1].new != text:
        raise Violation("the history does not end with the memory's text")


def _refusals(writes: Sequence[Write]) -> str:
    statuses = sorted({write.refused for write in writes if write.refused})
    return ", ".join(map(str, statuses)) if statuses else "their jobs failed"


def _numbers(versions: Sequence[int | None]) -> str:
    return ", ".join("none" if version is None else str(version) for version in versions)
