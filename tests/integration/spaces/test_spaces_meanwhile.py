"""A space is opened, or left, while a worker that looked at the registry before commits: no memory is missed by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_client.errors import RateLimitError
from emendo_client.requests.operations import new_memory_id
from emendo_config.spaces.registry import SpaceState, remove_space, save_space
from emendo_config.store import scripts
from emendo_workers.memories.space_catch_up import SpaceCatchUp
from emendo_workers.memories.state import MemoryState
from tests.support.deaths import Killed, die_at, spared
from tests.support.intake import added, bring_back, drain, shard_of_job
from tests.support.migrating import registered
from tests.support.spaces import SMALL, assert_right, failing, open_space, own_space

LIVE = replace(SMALL, state=SpaceState.LIVE)


@pytest.mark.parametrize("kind", ["add", "update"])
def test_a_space_opened_just_before_the_commit_is_not_missed(services, client, monkeypatch, kind):
    """The worker looked at the registry before; nobody who fills the space can know of its memory."""
    memory_id = added(services, client) if kind == "update" else None
    job = client.update(memory_id, "text") if memory_id else client.add("text", user_id="ana", infer=False)
    real = services.embedding.embed

    def open_meanwhile(texts, meter=None):
        open_space(services)
        return real(texts)

    monkeypatch.setattr(services.embedding, "embed", open_meanwhile)
    drain(services, job)
    assert_right(services, job.wait(1).results[0].memory_id, own_space(services), SMALL)


def deaths_of_an_add(services, client, monkeypatch, *, after, before, amid, then):
    """An add whose worker dies at its first step, another at its second, and so on; another worker ends each.

    Args:
        after: whether it dies after the step's round trip, or before it.
        before: makes the spaces what they are when the add begins.
        amid: changes them while the worker embeds.
        then: changes them when the worker is dead, as though it had been done meanwhile.

    Yields the memory's id each time; the last one's add nobody interrupted.
    """
    real = services.embedding.embed

    def embed_meanwhile(texts, meter=None):
        with spared():
            amid()
        return real(texts)

    for step in range(1, 50):
        before()
        job = client.add("text", user_id="ana", infer=False)
        memory_id, died = new_memory_id(job.id, 0), False
        with monkeypatch.context() as patch:
            patch.setattr(services.embedding, "embed", embed_meanwhile)
            die_at(patch, step, after=after)
            try:
                drain(services, job)
            except Killed:
                died = True
        if died:
            then()
            # The dead worker's leases run out.
            services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
            services.data.delete(services.keys.lock(memory_id))
            drain(services, job)
        assert job.status() == "succeeded", f"died at step {step}"
        yield memory_id
        if not died:
            return


@pytest.mark.parametrize("after", [False, True])
def test_nor_when_the_worker_dies_at_any_step(services, client, monkeypatch, after):
    died = deaths_of_an_add(
        services,
        client,
        monkeypatch,
        after=after,
        before=lambda: remove_space(services.data, services.keys, SMALL.name),
        amid=lambda: open_space(services),
        then=lambda: open_space(services),
    )
    steps = 0
    for memory_id in died:
        assert_right(services, memory_id, own_space(services), SMALL)
        steps += 1
    assert steps > 7, "open, embed, commit, read, embed, write, finish"


def test_a_job_waits_for_the_vector_of_a_live_space_that_was_opened_meanwhile(services, client, monkeypatch):
    job = client.add("text", user_id="ana", infer=False)
    real = services.embedding.embed

    def open_meanwhile(texts, meter=None):
        open_space(services, LIVE)
        return real(texts)

    with monkeypatch.context() as patch:
        patch.setattr(services.embedding, "embed", open_meanwhile)
        patch.setattr(services.pipelines, "retain", lambda _: None)
        failing(patch, services, LIVE, RateLimitError("too fast"))
        drain(services, job)
    assert job.status() == "retrying"
    bring_back(services, job)
    result = job.wait(1)
    assert (result.status, result.results[0].version) == ("succeeded", 1)
    assert_right(services, result.results[0].memory_id, own_space(services), LIVE)


def leave(services, space=SMALL):
    """Removes a space as a re-embedding does that leaves it: no memory lists it, and its last pass is over."""
    if space.name not in registered(services):
        return
    services.data.execute_command("FT.DROPINDEX", services.keys.index(space.name))
    remove_space(services.data, services.keys, space.name)


@pytest.mark.parametrize("kind", ["add", "update"])
@pytest.mark.parametrize(
    "states",
    [
        (SpaceState.FILLING, None),
        (SpaceState.LIVE, None),
        (SpaceState.LIVE, SpaceState.DROPPING),  # its last pass is not over, but past this memory
    ],
)
def test_a_space_left_just_before_the_commit_leaves_nothing_behind(services, client, monkeypatch, kind, states):
    """The worker looked at the registry before; who removes the space has looked at its memory already."""
    before, then = states
    memory_id = added(services, client) if kind == "update" else None
    space = open_space(services, replace(SMALL, state=before))
    job = client.update(memory_id, "text") if memory_id else client.add("text", user_id="ana", infer=False)
    real = services.embedding.embed

    def leave_meanwhile(texts, meter=None):
        if then is None:
            leave(services)
        else:
            save_space(services.data, services.keys, replace(space, state=then))
        return real(texts)

    with monkeypatch.context() as patch:
        patch.setattr(services.embedding, "embed", leave_meanwhile)
        drain(services, job)
    memory_id = job.wait(1).results[0].memory_id
    assert_right(services, memory_id, own_space(services))
    model = services.data.hget(services.keys.memory(memory_id), "embedding_model").decode()
    assert model == own_space(services).space.model


@pytest.mark.parametrize("after", [False, True])
def test_nothing_is_left_when_the_worker_dies_at_any_step(services, client, monkeypatch, after):
    died = deaths_of_an_add(
        services,
        client,
        monkeypatch,
        after=after,
        before=lambda: open_space(services),
        amid=lambda: leave(services),
        then=lambda: leave(services),
    )
    steps = 0
    for memory_id in died:
        assert_right(services, memory_id, own_space(services))
        steps += 1
    assert steps > 5, "open, commit, what it leaves, finish, close"


def test_a_space_that_is_opened_again_while_its_vector_is_removed_gets_it_back(services, client, monkeypatch):
    open_space(services)
    job = client.add("text", user_id="ana", infer=False)
    real, real_embed, opened = scripts.run, services.embedding.embed, []

    def leave_meanwhile(texts, meter=None):
        leave(services)
        return real_embed(texts)

    def open_meanwhile(connection, commands, **more):
        if not opened and any(scripts.drop_vector.runs_in(command) for command in commands):
            opened.append(open_space(services))
        return real(connection, commands, **more)

    with monkeypatch.context() as patch:
        patch.setattr(services.embedding, "embed", leave_meanwhile)
        patch.setattr(scripts, "run", open_meanwhile)
        drain(services, job)
    assert opened
    assert_right(services, job.wait(1).results[0].memory_id, own_space(services), SMALL)


def test_a_memory_keeps_its_last_vector_whatever_the_registry_says(services, client):
    """A registry that was lost, and made again from other settings, names none of the spaces there are."""
    memory_id = added(services, client)
    own, other = own_space(services), open_space(services)
    remove_space(services.data, services.keys, own.name)
    catch_up = SpaceCatchUp(services)
    catch_up.note(MemoryState(memory_id, hash="of its text"), frozenset({own.name}), [other])
    assert catch_up.run([other]) == {}
    assert_right(services, memory_id, own, other)
