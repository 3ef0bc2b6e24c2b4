"""A damaged document is quoted nowhere: no error, cause, log line or command's error output has a piece of it."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from emendo_client.errors import EmendoError
from emendo_client.exchanges import health, histories
from emendo_config import Settings
from emendo_config.logs import configure_logging
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import sender_for
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.housekeeping import keep_house
from tests.model.effort import DEEP
from tests.support.intake import added, drain, drain_all, let_time_pass, put_aside

SECRET = "zz hush zz"  # no id, which an error may name
# A damaged value may be text, JSON of another type, or no text at all.
VALUES = {
    "text": f"{SECRET} is said".encode(),
    "JSON text": f'"{SECRET}"'.encode(),
    "list": f'["{SECRET}", {{"{SECRET}": ["{SECRET}"]}}]'.encode(),
    "object": f'{{"{SECRET}": "{SECRET}", "format": "{SECRET}", "op": "{SECRET}"}}'.encode(),
    "no UTF-8": b"\xff\xfe" + SECRET.encode(),
    "no JSON": b"[[[[{" + SECRET.encode(),
    "number": b"1" + SECRET.encode(),
    "huge number": b"9" * 400,
}


class Surroundings:
    """A store with one of each document, and what was written about it while somebody looked at it."""

    def __init__(self, services, client, text="text") -> None:
        self.services, self.client, self.keys = services, client, services.keys
        self.control, self.data = services.control, services.data
        self.memory_id = added(services, client, f"{text} 1", metadata={"a": 1}, expires_at="2100-01-01T00:00:00Z")
        drain(services, client.update(self.memory_id, f"{text} 2"))
        self.neighbour = added(services, client, f"{text} 3")
        late = client.update(self.memory_id, f"{text} late", expected_version=1, on_conflict="manual")
        drain(services, late)
        self.dead = client.update(self.memory_id, f"{text} dead")
        self.control.hset(self.keys.job(self.dead.id), "payload", b"{")
        drain(services, self.dead)
        self.waiting = client.update(self.neighbour, f"{text} waits")
        put_aside(services, self.neighbour, self.waiting)
        self.queued = client.update(self.memory_id, f"{text} queued")
        self.batch = client.batch_update([{"memory_id": self.neighbour, "text": f"{text} of a batch"}])
        self.written: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collects all that is logged, at every level and in both forms."""
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        streams = []
        for form in ("text", "json"):
            configure_logging(self.services.settings.model_copy(update={"log_format": form, "log_level": "DEBUG"}))
            (handler,) = root.handlers
            streams.append(io.StringIO())
            handler.setStream(streams[-1])
            before.append(handler)
        root.handlers[:] = before
        try:
            yield
        finally:
            root.handlers[:] = before[:-2]
            root.setLevel(level)
            self.written += [stream.getvalue() for stream in streams]

    def attempt(self, call) -> None:
        """Calls it; an error must be Emendo's, and is collected with all its causes."""
        try:
            call()
        except EmendoError as error:
            self.written.append("".join(traceback.format_exception(error)))
            self.written += [repr(each) + str(each) for each in chain(error)]
            self.written.append(json.dumps(error.to_dict(), default=repr) + repr(error.debug_info))

    def calls(self):
        client, memory_id = self.client, self.memory_id
        yield from (
            lambda: client.get(memory_id, include_deleted=True),
            lambda: client.get_all(user_id="ana"),
            lambda: list(client.iter_all(user_id="ana", include_deleted=True)),
            lambda: client.get_all(user_id="ana", filters={"a": {"gte": 1}}),
            lambda: client.search("fact", user_id="ana"),
            lambda: client.search("fact", user_id="ana", filters={"a": {"gte": 1}}),
            lambda: client.count(user_id="ana"),
            client.users,
            lambda: client.history(memory_id),
            lambda: client._run(histories.export(self.keys, "default", None, lambda entry: None)),
            lambda: client.diagnose(memory_id),
            client.conflicts,
            client.jobs,
            lambda: client.jobs(status="failed"),
            client.dead_letters,
            lambda: client.dead_letters(memory_id=memory_id),
            lambda: client.dead_letter(self.dead.id),
            client.project_rules,
            client.health,
            client.migration,
            lambda: client.add("new", user_id="ana", infer=False, idempotency_key="again"),
        )
        for job in (self.dead, self.queued, self.waiting, self.batch):
            yield job.status
            yield lambda job=job: job.wait(0.01)
            yield lambda job=job: job.cancel(0.01)

    def look(self) -> None:
        """All calls of the client, then the worker's paths."""
        services = self.services
        with self.listening():
            for call in self.calls():
                self.attempt(call)
            senders = {"data": sender_for(self.data), "control": sender_for(self.control)}
            health.check(senders, self.keys)
            with suppress(EmendoError):
                let_time_pass(services)
            for step in (
                lambda: drain_all(services),
                lambda: Sweeper(services).sweep(),
                lambda: keep_house(services.store, services.notifier, 4_200_000_000.0),
                self.client.replay_all,
                lambda: drain_all(services),
            ):
                self.attempt(step)

    def check(self, err: str = "") -> None:
        for text in [*self.written, err]:
            assert SECRET not in text, text[max(0, text.index(SECRET) - 2_000) :][:3_000]


def chain(error: BaseException | None) -> list[BaseException]:
    """The error and everything it came from, also what a traceback would not show."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


def rewritten(connection, key, field, value) -> None:
    """A stream whose entries have this value in the field."""
    entries = connection.xrange(key)
    connection.delete(key)
    for entry_id, fields in entries:
        connection.xadd(key, {**fields, field: value}, id=entry_id)


MEMORY_FIELDS = ("metadata", "version", "created_at", "updated_at", "expires_at", "stamps", "embedding_space", "hash")
HISTORY_FIELDS = ("version", "event", "created_at", "updated_at", "new_metadata", "job_id", "item", "submitted_at")
RECORD_FIELDS = (
    *("payload", "results", "error", "settled", "usage", "prompts", "left_out", "attempts", "submitted", "started"),
    *("finished", "next_attempt", "items", "chunks", "done", "status", "format", "memory_id", "behind", "dead_of"),
    *("deaths", "shard", "lane", "kind", "id", "open", "cancel"),
)
SOME_FIELDS = ("payload", "results", "error", "settled", "attempts", "items", "chunks", "behind", "dead_of")
PLACES = {
    **{f"memory: {name}": ("data", lambda s: s.keys.memory(s.memory_id), name) for name in MEMORY_FIELDS},
    **{f"history: {name}": ("stream", lambda s: s.keys.history(s.memory_id), name) for name in HISTORY_FIELDS},
    **{f"record: {name}": ("control", lambda s: s.keys.job(s.queued.id), name) for name in RECORD_FIELDS},
    **{f"waiting: {name}": ("control", lambda s: s.keys.job(s.waiting.id), name) for name in SOME_FIELDS},
    **{f"letter: {name}": ("control", lambda s: s.keys.job(s.dead.id), name) for name in SOME_FIELDS},
    **{f"chunk: {name}": ("control", lambda s: s.keys.job(f"{s.batch.id}:0"), name) for name in SOME_FIELDS},
    **{f"batch: {name}": ("control", lambda s: s.keys.job(s.batch.id), name) for name in SOME_FIELDS},
    "conflict": ("all", lambda s: s.keys.conflict(s.memory_id), ""),
    "space": ("all", lambda s: s.keys.spaces, ""),
    **{
        f"migration: {name}": ("migration", lambda s: s.keys.migration, name)
        for name in ("phase", "plan", "filters", "record", "switched_at", "rate", "skipped", "revision", "job")
    },
    "rules": ("control", lambda s: s.keys.project("default"), "categories"),
    "fault": ("fault", lambda s: s.keys.worker_faults, ""),
    "breaker": ("control", lambda s: s.keys.breaker("embedding"), "until"),
    "usage": ("control", lambda s: s.keys.usage, "degraded_jobs"),
    "housekeeping": ("control", lambda s: s.keys.housekeeping, "ended"),
    "housekeeping: cursor": ("control", lambda s: s.keys.housekeeping, "tags_cursor"),
    "clock": ("string", lambda s: s.keys.clock, ""),
    "idempotency": ("control", lambda s: s.keys.idempotency("default", "again"), "job_id"),
}


def damage(surroundings, place, value) -> None:
    plane, key_of, field = PLACES[place]
    key = key_of(surroundings)
    data, control = surroundings.data, surroundings.control
    if plane == "stream":
        rewritten(data, key, field, value)
    elif plane == "all":
        for name in data.hkeys(key):
            data.hset(key, name, value)
    elif plane == "migration":
        control.hset(key, mapping={"job": "j", "phase": "embedding", "revision": 1, field: value})
        control.expire(key, 60)
    elif plane == "fault":
        control.zadd(surroundings.keys.workers, {"w": 9e15})
        control.hset(key, "w", value)
    elif plane == "string":
        control.set(key, value)
    else:
        (data if plane == "data" else control).hset(key, field, value)
        if field in ("until", "job_id"):
            control.expire(key, 60)


COMMANDS = (
    *("get {memory}", "history {memory}", "list --user ana", "search fact --user ana", "count --user ana", "users"),
    *("jobs", "dead", "dead show {dead}", "conflicts", "diagnose {memory}", "doctor", "doctor --deep", "project show"),
    *("get {memory} --json", "jobs --json", "dead --json"),
)


@pytest.mark.parametrize("place", ["memory: created_at", "history: updated_at", "letter: error"])
def test_no_command_quotes_a_damaged_document_among_its_errors(services, client, cli, place):
    surroundings = Surroundings(services, client)
    damage(surroundings, place, VALUES["text"])
    for command in COMMANDS:
        words = command.format(memory=surroundings.memory_id, dead=surroundings.dead.id).split()
        code, _, errors = cli(services.settings, *words)
        assert code in (0, 1, 2), command
        assert SECRET not in errors, command
        assert "Traceback" not in errors, command


def test_entries_that_name_no_job_are_dropped_without_a_word_of_them(services, client, capfd):
    surroundings = Surroundings(services, client)
    shard = as_text(services.control.hget(services.keys.job(surroundings.queued.id), "shard"))
    services.control.xadd(services.keys.inbox(shard), {"job": SECRET})
    services.control.zadd(services.keys.delayed, {SECRET: 1})
    surroundings.look()
    surroundings.check(capfd.readouterr().err)
    assert "names no job" in "".join(surroundings.written)
    assert "has no record" in "".join(surroundings.written)


def test_errors_of_libraries_are_logged_without_their_texts():
    logger = logging.getLogger("emendo.test")
    surroundings = Surroundings.__new__(Surroundings)
    surroundings.services = SimpleNamespace(settings=Settings())
    surroundings.written = []
    with surroundings.listening():
        try:
            try:
                int(SECRET)
            except ValueError as error:
                raise EmendoError("the number cannot be read") from error
        except EmendoError as error:
            logger.exception("it failed: %r", error.__cause__)
            context = {"name": "emendo.drain", "exc": SECRET, "traceback": SECRET}
            logger.exception("Task %(name)s raised: %(exc)s %(traceback)s", context, exc_info=error.__cause__)
    (text, document) = surroundings.written
    for written in (text, document):
        assert SECRET not in written
        assert written.count("ValueError") >= 2, "its kind and place are there"
        assert "the number cannot be read" in written
        assert "test_no_content_in_errors.py" in written


KINDS = list(VALUES)
# The places where a value is parsed into another type, with another kind of damage for each; the slow test has more.
QUICK = (
    *(f"memory: {name}" for name in ("metadata", "version", "created_at", "stamps")),
    *(f"history: {name}" for name in ("event", "updated_at", "new_metadata", "version")),
    *(f"record: {name}" for name in ("payload", "settled", "submitted", "attempts", "shard")),
    *("letter: results", "letter: payload", "batch: chunks", "conflict", "space", "migration: plan", "fault", "clock"),
)


@pytest.mark.parametrize(("place", "kind"), [(place, KINDS[n % len(KINDS)]) for n, place in enumerate(QUICK)])
def test_a_damaged_document_is_never_quoted(services, client, capfd, place, kind):
    look_at_damage(services, client, capfd, place, kind)


# Two kinds of damage for each place, another two for the next one. The deep profile has every kind in every place.
MANY = [
    (place, KINDS[(n + turn) % len(KINDS)])
    for n, place in enumerate(PLACES)
    for turn in (range(len(KINDS)) if DEEP else (0, 3))
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "kind"), MANY)
def test_no_damage_of_any_document_is_ever_quoted(services, client, capfd, place, kind):
    look_at_damage(services, client, capfd, place, kind)


def look_at_damage(services, client, capfd, place, kind) -> None:
    surroundings = Surroundings(services, client)
    damage(surroundings, place, VALUES[kind])
    surroundings.look()
    surroundings.check(capfd.readouterr().err)
    for key in surroundings.control.scan_iter(f"{services.settings.key_prefix}*", count=1_000):
        surroundings.control.delete(key)
