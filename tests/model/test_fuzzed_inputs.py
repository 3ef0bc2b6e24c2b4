"""Any input works within the caller's own project, or is refused with a clear error and no trace.

Two tenants have data side by side. One of them calls every public method with values nobody means well with.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import assume, example, given, note
from hypothesis import strategies as st

from emendo_client import Job, MemoryClient
from emendo_client.errors import (
    ConflictError,
    JobError,
    JobNotFoundError,
    MemoryNotFoundError,
    NotFoundError,
    ValidationError,
)
from emendo_client.models import ItemResult, Memory, Page
from emendo_client.records.derived_fields import PRESENT, metadata_leaves
from emendo_client.requests.filtering.operands import MAX_VALUE_CHARS
from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.intake.drain import Drain
from tests.model import hostile_inputs
from tests.model.effort import LIMIT, effort
from tests.support.filter_oracle import meets

# In everything the victim ever stored.
SECRET = "4711-seafood"
REFUSED = "unspeakable"
WELCOME = (ValidationError, NotFoundError, JobError, ConflictError)
NOTHING_TO_GIVE = {"close", "health", "batch", "migration", "pause_reembed", "rollback_reembed", "finalize_reembed"}
# Calls of operators, which concern all tenants at once: test_reembedding.py has their refusals.
OPERATORS = {"reembed", "resume_reembed"}
METHODS = sorted(
    name
    for name, method in inspect.getmembers(MemoryClient, inspect.isfunction)
    if not name.startswith("_") and name not in NOTHING_TO_GIVE | OPERATORS
)

OURS = {"self", "on_progress"}


class Tenants:
    """The victim and the caller, each with two users, a deleted memory and a dead letter."""

    def __init__(self, services: Any, provider: Any) -> None:
        self.services = services
        provider.faults.add(Fault("bad_request", rate=1.0, match=REFUSED))
        self.victim = MemoryClient(services.settings, project="victim")
        self.caller = MemoryClient(services.settings, project="caller")
        self.memory_ids: dict[str, list[str]] = {}
        self.job_ids: dict[str, list[str]] = {}
        self.conflict_ids: dict[str, list[str]] = {}
        for client, word in ((self.victim, SECRET), (self.caller, "mine")):
            jobs = [
                client.add(f"{word} {n}", user_id=f"u{n}", infer=False, metadata={"k": f"{word}", "n": n})
                for n in (1, 2, 3)
            ]
            jobs.append(client.add(f"{word} {REFUSED}", user_id="u1", infer=False))
            self.drain()
            ids = [job.wait(1).results[0].memory_id for job in jobs[:3]]
            jobs.append(client.delete(ids[2]))
            jobs.append(client.update(ids[0], f"{word} one"))
            self.drain()
            jobs.append(client.update(ids[0], f"{word} uno", expected_version=1, on_conflict="manual"))
            self.drain()
            assert [job.status().value for job in jobs] == ["succeeded"] * 3 + ["failed"] + ["succeeded"] * 3
            (conflict,) = client.conflicts()
            self.conflict_ids[client.project] = [conflict.id]
            self.memory_ids[client.project] = ids
            self.job_ids[client.project] = [job.id for job in jobs]
        self.victims = self._victims()

    def close(self) -> None:
        self.victim.close()
        self.caller.close()

    @property
    def strategies(self) -> Any:
        return hostile_inputs.parameters(
            *([*chain(*ids.values())] for ids in (self.memory_ids, self.job_ids, self.conflict_ids))
        )

    def drain(self) -> None:
        for raw in sorted(self.services.control.smembers(self.services.keys.shards)):
            Drain(self.services, raw.decode()).run()

    def everything(self) -> dict[bytes, bytes | None]:
        """All keys and what they hold."""
        control, prefix = self.services.control, self.services.settings.key_prefix
        names = sorted(control.scan_iter(match=f"{prefix}*", count=10_000))
        pipeline = control.pipeline(transaction=False)
        for name in names:
            pipeline.dump(name)
        return dict(zip(names, pipeline.execute(), strict=True))

    def _victims(self) -> dict[bytes, bytes | None]:
        ids = [self.victim.project, *self.memory_ids["victim"], *self.job_ids["victim"]]
        return {
            name: held
            for name, held in self.everything().items()
            if any(name.endswith((f"{{{each}}}".encode(), f":{each}".encode())) for each in ids)
        }

    def assert_the_victim_is_untouched(self) -> None:
        held = self.everything()
        changed = [name for name, value in self.victims.items() if held.get(name) != value]
        assert not changed
        assert {memory.memory for memory in self.victim.get_all(all_users=True).results} == {
            f"{SECRET} one",
            f"{SECRET} 2",
        }
        assert len(self.victim.jobs()) == len(self.job_ids["victim"])

    def assert_a_trustworthy_memory(self, memory_id: str) -> None:
        """Its versions are 1 to n, and it is what its newest entry says; nothing is left of one that was erased."""
        history = self.caller.history(memory_id)
        try:
            memory = self.caller.get(memory_id, include_deleted=True)
        except MemoryNotFoundError:
            assert history[-1].event == "DELETE"
            assert all(entry.old_memory is entry.new_memory is None for entry in history)
            return
        assert [entry.version for entry in history] == list(range(1, memory.version + 1))
        assert history[-1].is_deleted == memory.is_deleted
        if not memory.is_deleted:
            assert (history[-1].new_memory, history[-1].new_metadata) == (memory.memory, memory.metadata)


@pytest.fixture
def tenants(services, openai_server) -> Iterator[Tenants]:
    made = Tenants(services, openai_server)
    yield made
    made.close()


def test_the_victims_keys_are_known(tenants):
    kinds = {
        name.removeprefix(tenants.services.settings.key_prefix.encode()).split(b":")[0] for name in tenants.victims
    }
    assert kinds == {b"memory", b"history", b"applied", b"job", b"jobs", b"conflict", b"conflicts", b"dead"}


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("method", METHODS)
def test_any_input_works_within_the_callers_project_or_is_refused_without_a_trace(tenants, method):
    names = [
        each for each in inspect.signature(getattr(MemoryClient, method)).parameters.values() if each.name not in OURS
    ]
    strategies = tenants.strategies
    required = {each.name: strategies[each.name] for each in names if each.default is each.empty}
    optional = {each.name: strategies[each.name] for each in names if each.default is not each.empty}
    # Calls that are mostly right get further than those that are wrong everywhere.
    few = st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True) if optional else st.just([])
    calls = few.flatmap(lambda chosen: st.fixed_dictionaries({**required, **{each: optional[each] for each in chosen}}))
    fair = {"user_id": "u1"} if {"user_id"} <= optional.keys() else {}

    @effort(25, deep=2_000)
    @given(calls)
    def call(given_values: dict[str, Any]) -> None:
        values = {**fair, **given_values}
        before, woken = tenants.everything(), _wakeups(tenants)
        try:
            returned = getattr(tenants.caller, method)(**values)
            if isinstance(returned, Iterator):
                returned = list(returned)
        except WELCOME as error:
            note(f"refused: {error}")
            assert tenants.everything() == before, "a refused call left something behind"
            assert _wakeups(tenants) == woken
            _assert_clear(error, [each.name for each in names], values)
            return
        note(f"returned: {returned!r}")
        if isinstance(returned, Job):
            tenants.drain()
            _assert_done_well(tenants, returned, values)
        tenants.assert_the_victim_is_untouched()
        _assert_own(tenants, returned)

    call()


def _wakeups(tenants: Tenants) -> int:
    import redis

    with redis.Redis.from_url(tenants.services.settings.broker_url) as broker:
        return int(broker.llen(f"{tenants.services.settings.key_prefix}interactive"))


def _assert_clear(error: Any, names: list[str], values: dict[str, Any]) -> None:
    message = str(error)
    assert 10 < len(message) < 500
    assert SECRET not in message
    assert SECRET not in json.dumps(error.to_dict(), default=str)
    if isinstance(error, ValidationError):
        assert any(name.removesuffix("s") in message for name in names), f"it does not say what is wrong: {message}"
    elif isinstance(error, MemoryNotFoundError):
        assert error.details == {"memory_id": values["memory_id"]}
    elif isinstance(error, JobError):
        assert error.details["job_id"] == values["job_id"]


def _assert_done_well(tenants: Tenants, job: Job, values: dict[str, Any]) -> None:
    try:
        result = job.wait(timeout=1)
    except JobNotFoundError:
        return  # a weak job that succeeded
    for item in result.results:
        if item.erased is not None:  # the erasure of a user, which is of no one memory
            _assert_erased(tenants, item, values["user_id"])
        elif item.error is None:
            tenants.assert_a_trustworthy_memory(item.memory_id)
        else:
            # Its own memories may be gone or have another version; the victim's are never there at all.
            assert item.memory_id not in tenants.memory_ids["victim"] or item.error["code"] == "MEMORY_NOT_FOUND"
            assert SECRET not in json.dumps(item.error)
            assert item.error["code"] != "UNEXPECTED", item.error


def _assert_erased(tenants: Tenants, item: ItemResult, user_id: str) -> None:
    """Nothing of the caller's user is left, and every memory of the caller is what it should be."""
    assert (item.memory_id, item.error) == ("", None)
    assert item.erased is not None
    assert not item.erased["failed"]
    left = tenants.caller.get_all(all_users=True, include_deleted=True, page_size=1_000)
    assert not left.has_next
    assert user_id not in [memory.user_id for memory in left.results]
    for memory_id in tenants.memory_ids["caller"]:
        tenants.assert_a_trustworthy_memory(memory_id)


def _assert_own(tenants: Tenants, returned: Any) -> None:
    foreign = {*tenants.memory_ids["victim"], *tenants.job_ids["victim"], *tenants.conflict_ids["victim"]}
    listed = returned.results if isinstance(returned, Page) else returned if isinstance(returned, list) else [returned]
    for each in listed:
        if isinstance(each, Memory):
            assert each.id not in foreign
            assert tenants.caller.get(each.id, include_deleted=True).id == each.id
        assert SECRET not in repr(each)
        assert not any(one in repr(each) for one in foreign - {getattr(each, "memory_id", None)})


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_what_is_accepted_reads_back_exactly_and_is_found_by_each_of_its_values(tenants):
    @effort(60, deep=5_000)
    @example(text="hello", user="u1", agent="a", metadata={" lead": 1, "trail ": " v ", "\t": True})
    @given(
        text=hostile_inputs.strange_texts,
        user=hostile_inputs.strange_texts,
        agent=hostile_inputs.strange_texts,
        metadata=hostile_inputs.good_metadata,
    )
    def round_trip(text: str, user: str, agent: str, metadata: dict[str, Any]) -> None:
        client = tenants.caller
        try:
            job = client.add(text, user_id=user, agent_id=agent, metadata=metadata, infer=False)
        except ValidationError:
            assume(False)
        tenants.drain()
        (item,) = job.wait(1).results
        memory = client.get(item.memory_id)
        assert (memory.memory, memory.user_id, memory.agent_id) == (text, user, agent)
        assert json.dumps(memory.metadata) == json.dumps(metadata)
        (entry,) = client.history(memory.id)
        assert (entry.new_memory, entry.new_metadata) == (text, metadata)
        for scope in ({"user_id": user}, {"agent_id": agent}, {"user_id": user, "agent_id": agent}):
            found = _all_pages(client, **scope)
            assert memory.id in [each.id for each in found]
            assert all({name: getattr(each, name) for name in scope} == scope for each in found)
        assert memory.id in [hit.id for hit in client.search(text, user_id=user, agent_id=agent, limit=1_000)]
        for path, value, _ in metadata_leaves(metadata):
            if value is PRESENT or len(str(value)) > MAX_VALUE_CHARS or len(path) > MAX_VALUE_CHARS:
                continue
            wanted = {"metadata": {path: value}}
            found = _all_pages(client, user_id=user, filters=wanted)
            assert memory.id in [each.id for each in found]
            assert all(meets(each, wanted) for each in found)
        client.delete(memory.id)
        tenants.drain()
        assert memory.id not in [each.id for each in _all_pages(client, user_id=user)]
        tenants.assert_the_victim_is_untouched()

    round_trip()


def _all_pages(client: MemoryClient, **more: Any) -> list[Memory]:
    page = client.get_all(page_size=1_000, **more)
    assert not page.has_next
    return page.results


@pytest.mark.timeout(LIMIT)
def test_a_project_is_a_name_or_refused(tenants):
    @effort(50, deep=2_000)
    @given(hostile_inputs.strange)
    def open_project(project: Any) -> None:
        assume(project is not None)  # the settings' project
        try:
            client = MemoryClient(tenants.services.settings, project=project)
        except ValidationError as error:
            _assert_clear(error, ["project"], {})
            return
        with client:
            assert client.project == project
            assert client.get_all(all_users=True).total == 0
            assert client.jobs() == client.dead_letters() == []
            for memory_id in tenants.memory_ids["victim"]:
                with pytest.raises(MemoryNotFoundError):
                    client.get(memory_id, include_deleted=True)

    open_project()
