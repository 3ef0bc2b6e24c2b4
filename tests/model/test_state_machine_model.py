"""Random histories of the whole client API, against the reference model.

Jobs wait in the inboxes until a rule works them. They pile up, and are worked in batches in any order of shards, by
workers that die, with a provider that fails. They come late, too, so that older submissions meet newer ones.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from emendo_client.testing.openai_server.faults import Fault
from tests.model.effort import LIMIT, effort
from tests.model.reembedding_control import meanwhile
from tests.model.reference import Ask
from tests.model.system_under_test import PROJECTS, REFUSED, SystemUnderTest

SHARDS = 3
FIRST = PROJECTS[0]

# Words the query language gives a meaning to are texts, ids and values like any other.
TEXTS = [
    "Ana likes green tea",
    "der Hund schläft tief",
    "猫は魚が好き",
    "*",
    "u1|u2",
    f"this is {REFUSED}",
    "🦜 says hello",
]
USERS = ["u1", "u2", "u1|u2", "*", "} @user_id:{u2"]
AGENTS = [None, None, "helper"]
KEYS = ["topic", "a b", "*"]
VALUES = ["food", "food|work", 1, True, 1.5, ["food"], {"deep": "food"}]

texts = st.sampled_from(TEXTS)
patches = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([*VALUES, None]), min_size=1, max_size=3)
numbers = st.integers(0, 50)  # of something there is; taken modulo how many there are


# Named functions: hypothesis parses the source of a lambda, which Python 3.11 fails at deep in a state machine's stack.
def _update(text, metadata, mode) -> Ask:
    text = TEXTS[0] if text is None and metadata is None else text
    return Ask("update", "", text, metadata, actor_id="ben", role="assistant", on_conflict=mode)


def _restore(version) -> Ask:
    return Ask("restore", "", version=version, actor_id="eve")


def _itself(chosen):
    return chosen


def _names_a_rule(given) -> bool:
    return given != (None, None)


def _is_not_refused(text) -> bool:
    return REFUSED not in text


updates = st.builds(
    _update,
    st.none() | texts,
    st.none() | patches,
    st.sampled_from(["last_write_wins", "last_write_wins", "reject"]),
)
deletes = st.just(Ask("delete", ""))
restores = st.builds(_restore, st.sampled_from([None, None, 1, 1, 2, 3, 5]))
# On a memory that the rule chooses.
changes = st.sampled_from([updates] * 7 + [restores] * 2 + [deletes]).flatmap(_itself)
offsets = st.sampled_from([None, None, None, 0, 1, 2])  # of the expected version from the one there is
projects = st.sampled_from([FIRST, FIRST, FIRST, PROJECTS[1]])
intruders = st.sampled_from([False] * 7 + [True])  # whether the other tenant tries
idempotency_keys = st.sampled_from([None, None, None, None, "k1", "k2"])
orders = st.permutations(range(SHARDS))
scopes = st.fixed_dictionaries({}, optional={"user_id": st.sampled_from(USERS), "agent_id": st.just("helper")})
_values = st.sampled_from([value for value in VALUES if not isinstance(value, list | dict)])
filters = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", ["user", "assistant"]]),
            "actor_id": st.sampled_from(["ana", "*"]),
            "user_id": st.lists(st.sampled_from(USERS), min_size=1, max_size=3),
            "metadata": st.dictionaries(
                st.sampled_from(KEYS), _values | st.lists(_values, min_size=1, max_size=2), max_size=2
            ),
        },
    ),
)
rules = st.tuples(  # instructions, categories
    st.none() | st.sampled_from(["", "Remember pets.", "*"]),
    st.none() | st.lists(st.sampled_from(["food", "pets", "a b", "*"]), unique=True),
).filter(_names_a_rule)
faults = st.lists(
    st.builds(
        Fault,
        kind=st.sampled_from(["unavailable", "rate_limit", "malformed_json", "wrong_dimension"]),
        times=st.integers(1, 3),
        endpoint=st.just("embeddings"),
    ),
    min_size=1,
    max_size=2,
)
few = st.integers(0, 8) | st.none()  # steps of a re-embedding; None: all


class StoreMachine(RuleBasedStateMachine):
    """Acts of callers, workers, providers and the clock, in any order."""

    system: SystemUnderTest  # set by the test, a new one for each example

    # Callers.

    @initialize(shards=st.lists(st.integers(0, SHARDS - 1), min_size=1, max_size=3))
    def begin(self, shards: list[int]) -> None:
        for number, shard in enumerate(shards):
            self.system.add(FIRST, shard, [TEXTS[number]], key=None, user_id=USERS[0], metadata=None)
        self.system.work(range(SHARDS))

    @rule(
        project=projects,
        shard=st.integers(0, SHARDS - 1),
        messages=st.lists(texts, min_size=1, max_size=3),
        user=st.sampled_from(USERS),
        agent=st.sampled_from(AGENTS),
        metadata=st.none() | patches,
        key=idempotency_keys,
    )
    def add(self, *, project, shard, messages, user, agent, metadata, key) -> None:
        if len(self.system.memories) < 12:
            self.system.add(project, shard, messages, key=key, user_id=user, agent_id=agent, metadata=metadata)

    @rule(wanted=st.lists(st.tuples(numbers, changes, offsets, idempotency_keys, intruders), min_size=1, max_size=5))
    def change(self, wanted) -> None:
        for memory, ask, off, key, intrudes in wanted:
            memory_id = self._memory(memory)
            expected = None if off is None or ask.op == "restore" else self._version(memory_id) + off
            owner = self.system.owners[memory_id]
            project = next(each for each in PROJECTS if (each == owner) != intrudes)
            self.system.change(project, replace(ask, memory_id=memory_id, expected_version=expected), key)

    @rule(job=numbers)
    def cancel(self, job) -> None:
        self.system.cancel(self._job(job))

    @rule(project=projects, number=numbers, replay=st.booleans())
    def replay_or_discard(self, project, number, replay) -> None:
        dead = sorted(self.system.store.dead_letters(FIRST), key=self.system.jobs.index)
        job_id = dead[number % len(dead)] if dead else self._job(number)
        self.system.replay_or_discard(job_id, replay=replay, project=project)

    @rule(project=projects, wanted=rules)
    def set_project_rules(self, project, wanted) -> None:
        self.system.set_rules(project, *wanted)

    # Workers, providers, the clock.

    @rule(order=orders, how_many=st.integers(1, SHARDS))
    def work(self, order, how_many) -> None:
        self.system.work(order[:how_many])

    @rule(order=orders, struck=faults)
    def work_while_the_provider_fails(self, order, struck) -> None:
        # Hypothesis may show one strategy's value again; a fault counts down.
        self.system.work(order, [Fault(fault.kind, times=fault.times, endpoint=fault.endpoint) for fault in struck])

    @rule(memory=numbers, order=orders)
    def work_while_another_worker_has_a_memory(self, memory, order) -> None:
        self.system.work(order, stalled=self._memory(memory))

    @rule(shard=st.integers(0, SHARDS - 1), step=st.integers(2, 12), after=st.booleans())
    def die(self, shard, step, after) -> None:
        self.system.die(shard, step, after=after)

    @rule(
        memory=numbers, older=changes, newer=st.lists(changes, min_size=1, max_size=3), picked=st.permutations(range(6))
    )
    def overtake(self, memory, older, newer, picked) -> None:
        """An older submission waits while newer ones are worked, and comes late."""
        memory_id = self._memory(memory)
        project = self.system.owners[memory_id]
        self.system.change(project, replace(older, memory_id=memory_id), None)
        self.system.work(range(SHARDS), stalled=memory_id)
        for ask in newer:
            self.system.change(project, replace(ask, memory_id=memory_id), None)
        self.system.work(range(SHARDS))
        self.system.bring_back(picked)
        self.system.work(range(SHARDS))

    @rule(memory=numbers, asks=st.lists(changes, min_size=2, max_size=3), picked=numbers, step=st.integers(2, 6))
    def cancel_while_it_runs(self, memory, asks, picked, step) -> None:
        """A worker has begun a batch when one of its jobs is cancelled, and dies; the next one has the say."""
        memory_id = self._memory(memory)
        for ask in asks:
            self.system.change(self.system.owners[memory_id], replace(ask, memory_id=memory_id), None)
        self.system.die(self.system.shard_of(memory_id), step, after=True)
        self.system.cancel(self.system.jobs[-1 - picked % len(asks)])
        self.system.work(range(SHARDS))

    @rule(picked=st.lists(numbers, max_size=4))
    def bring_back_what_was_put_aside(self, picked) -> None:
        self.system.bring_back(picked)

    # Operators: the store moves to another embedding space and back.

    @rule(
        number=numbers,
        call=st.sampled_from(["begin", "begin", "finalize", "roll back", "pause", "resume"]),
        steps=few,
    )
    def re_embed(self, number, call, steps) -> None:
        if call == "begin":
            self.system.reembedding.begin(number)
        elif call in ("pause", "resume"):
            self.system.reembedding.steer(pause=call == "pause")
        else:
            self.system.reembedding.end(back=call == "roll back")
        self.system.re_embed(steps)

    @rule(
        memory=numbers,
        ask=st.none() | changes,
        before=st.sampled_from([0, 0, 0, 1, 3, 6]),
        steps=st.sampled_from([2, 4, None, None]),
        amid=st.sampled_from(["open_memory", "commit", "commit", "finish"]),
    )
    def re_embed_in_the_middle_of_a_change(self, memory, ask, before, steps, amid) -> None:
        """A worker knows the spaces of a while ago: meanwhile one is opened, filled, or searched already."""
        self._begin_another(memory, before)
        shard = self._ask(memory, ask)
        with meanwhile(amid, lambda: self.system.reembedding.take_steps(steps)):
            self.system.work([shard])
        self.system.re_embed(0)

    @rule(
        memory=numbers,
        ask=updates,
        before=st.sampled_from([0, 2, 3, 3, 3, 3, 6]),  # after the third the first chunk waits
        steps=st.integers(1, 4),
        amid=st.sampled_from(["backfill", "backfill", "backfill", "finish"]),
    )
    def change_in_the_middle_of_a_step(self, memory, ask, before, steps, amid) -> None:
        """The text that a worker has embedded changes before it writes the vector, or before it reports it."""
        self._begin_another(memory, before)
        shard = self._ask(memory, ask)
        with meanwhile(amid, lambda: self.system.work([shard])):
            self.system.reembedding.take_steps(steps)
        self.system.re_embed(0)

    def _begin_another(self, number: int, steps: int) -> None:
        """A re-embedding that has just come so far; the one that is under way ends before."""
        reembedding = self.system.reembedding
        if reembedding.spaces.are_changing:
            reembedding.end(back=bool(number % 2))
            reembedding.finish()
        reembedding.begin(number)
        reembedding.take_steps(steps)

    def _ask(self, memory: int, ask: Ask | None) -> int:
        """Changes a memory, or adds one; the shard on which that waits."""
        memory_id = self._memory(memory)
        shard = self.system.shard_of(memory_id)
        if ask is None:
            self.system.add(FIRST, shard, [TEXTS[0]], key=None, user_id=USERS[0], metadata=None)
        else:
            self.system.change(self.system.owners[memory_id], replace(ask, memory_id=memory_id), None)
        return shard

    # Readers.

    @rule(project=projects, scope=scopes, wanted=filters, size=st.integers(1, 5))
    def list_memories(self, project, scope, wanted, size) -> None:
        self.system.compare_listing(project, scope, wanted, size)

    @rule(project=projects, query=texts.filter(_is_not_refused), scope=scopes, wanted=filters)
    def search(self, project, query, scope, wanted) -> None:
        self.system.compare_search(project, query, scope, wanted)

    def teardown(self) -> None:
        self.system.reembedding.finish()
        self.system.reembedding.end(back=False)
        self.system.settle()
        for project in PROJECTS:
            self.system.compare_listing(project, {}, None, 4)
            for text in self.system.texts(project):
                self.system.compare_search(project, text, {}, None)
        self.system.forget()

    def _memory(self, number: int) -> str:
        return self.system.memories[number % len(self.system.memories)]

    def _job(self, number: int) -> str:
        return self.system.jobs[number % len(self.system.jobs)]

    def _version(self, memory_id: str) -> int:
        memory = self.system.store.memories.get(memory_id)
        return memory.version if memory else 1


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("histories", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_the_store_does_what_the_model_does(services, openai_server, histories):
    systems: list[SystemUnderTest] = []

    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__()
            self.system = SystemUnderTest(services, openai_server)
            systems.append(self.system)

        def teardown(self) -> None:
            has_failed = sys.exc_info()[0] is not None
            try:
                if not has_failed:  # else that is what counts
                    has_failed = True
                    super().teardown()
                    has_failed = False
            finally:
                self.system.close(failed=has_failed)

    run_state_machine_as_test(Machine, settings=effort(histories, deep=2_000, stateful_step_count=30))
    assert systems
