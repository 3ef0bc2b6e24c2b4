"""The conflict queue: what waits for a person, that person's decision, and every way to die in between."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client import AsyncMemoryClient, Event, Job, MemoryClient
from emendo_client.errors import ConflictNotFoundError, MemoryNotFoundError, ValidationError
from emendo_client.requests.operations import OperationBuilder
from emendo_client.requests.validation import conflict_id as checked_id
from emendo_config import Settings
from emendo_config.store import scripts
from emendo_workers.intake.drain import Drain
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.services import Services
from tests.support.deaths import DEATHS
from tests.support.disputing import documents, drain_dying, errors_of, listed, worked
from tests.support.intake import added, bring_back, drain, put_aside


def disputed(services: Services, client: MemoryClient, **more) -> tuple[str, Job]:
    """A memory that says "theirs", and a job whose text "ours" waits."""
    memory_id = added(services, client, "base", metadata={"k": 1})
    worked(services, client.update(memory_id, "theirs", {"k": 2}, actor_id="ana"))
    ours = {"text": "ours", "metadata": {"k": 3}, **more}
    job = client.update(memory_id, **ours, actor_id="bob", expected_version=1, on_conflict="manual")
    worked(services, job)
    return memory_id, job


# What waits.


def test_a_conflict_shows_both_sides_and_where_they_began(services, client):
    memory_id, job = disputed(services, client)
    (item,) = job.wait(1).results
    assert (item.event, item.version, item.memory) == (Event.SUPERSEDED, 3, "theirs")
    (conflict,) = client.conflicts()
    assert conflict == client.conflict(conflict.id)
    assert (conflict.id, conflict.memory_id, conflict.job_id) == (item.conflict_id, memory_id, job.id)
    assert (conflict.base, conflict.theirs, conflict.ours) == ("base", "theirs", "ours")
    sides = (conflict.base_metadata, conflict.their_metadata, conflict.our_metadata)
    assert sides == ({"k": 1}, {"k": 2}, {"k": 3})
    assert (conflict.actor_id, conflict.expected_version, conflict.current_version) == ("bob", 1, 3)
    assert conflict.submitted_at == job.info().submitted_at <= conflict.created_at
    assert client.get(memory_id).memory == "theirs"


def test_what_is_not_in_dispute_applies_at_once(services, client):
    memory_id, job = disputed(services, client, metadata={"mine": 1})
    (conflict,) = client.conflicts()
    assert (conflict.our_metadata, conflict.ours) == ({}, "ours")
    assert job.wait(1).results[0].event == Event.UPDATE
    assert client.get(memory_id).metadata == {"k": 2, "mine": 1}


def test_theirs_is_what_the_memory_says_now(services, client):
    memory_id, _ = disputed(services, client)
    worked(services, client.update(memory_id, "theirs, later", {"k": None}))
    (conflict,) = client.conflicts()
    assert (conflict.theirs, conflict.their_metadata, conflict.current_version) == ("theirs, later", {"k": None}, 4)


def test_conflicts_are_listed_newest_first_up_to_the_limit(services, client):
    waiting = [disputed(services, client)[1].wait(1).results[0].conflict_id for _ in range(3)]
    assert [conflict.id for conflict in client.conflicts()] == waiting[::-1]
    assert [conflict.id for conflict in client.conflicts(limit=2)] == waiting[:0:-1]
    with pytest.raises(ValidationError):
        client.conflicts(limit=0)


def test_the_queue_is_no_place_for_content_on_the_control_plane(services, client):
    _, job = disputed(services, client)
    control = [services.control.hgetall(services.keys.job(job.id)), listed(services)]
    assert b"ours" not in repr(control).encode()


# The decision.


@pytest.mark.parametrize(
    ("choice", "more", "event", "text", "metadata"),
    [
        ("ours", {}, Event.UPDATE, "ours", {"k": 3}),
        ("theirs", {}, Event.SUPERSEDED, "theirs", {"k": 2}),
        ("merged", {"text": "both", "metadata": {"k": 9}}, Event.UPDATE, "both", {"k": 9}),
    ],
)
def test_a_decision_becomes_history_and_the_conflict_is_gone_from_both_planes(  # noqa: PLR0917
    services, client, choice, more, event, text, metadata
):
    memory_id, waiting = disputed(services, client)
    (conflict,) = client.conflicts()
    job = client.resolve_conflict(conflict.id, choice, actor_id="settle", expected_version=3, **more)
    worked(services, job)
    (item,) = job.wait(1).results
    assert (item.event, item.version, item.memory) == (event, 4, text)
    memory = client.get(memory_id)
    assert (memory.memory, memory.metadata, memory.version) == (text, metadata, 4)
    entry = client.history(memory_id)[-1]
    assert (entry.event, entry.actor_id, entry.job_id, entry.new_memory) == (event, "settle", job.id, text)
    assert client.conflicts() == []
    assert (documents(services, memory_id), listed(services)) == (0, [])
    with pytest.raises(ConflictNotFoundError) as gone:
        client.conflict(conflict.id)
    assert gone.value.error_code == "NO_SUCH_CONFLICT"
    assert waiting.wait(1).status == "succeeded"


def test_a_conflict_is_decided_once(services, client):
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    worked(services, client.resolve_conflict(conflict.id, "ours"))
    again = client.resolve_conflict(conflict.id, "merged", text="again")
    drain(services, again)
    assert (again.status(), errors_of(again)) == ("failed", ["NO_SUCH_CONFLICT"])
    assert (client.get(memory_id).memory, client.get(memory_id).version) == ("ours", 4)


def test_of_two_decisions_in_one_batch_the_first_one_stands(services, client):
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    jobs = [client.resolve_conflict(conflict.id, "merged", text=text) for text in ("first", "second")]
    drain(services, jobs[0])
    assert [job.status() for job in jobs] == ["succeeded", "failed"]
    assert errors_of(jobs[1]) == ["NO_SUCH_CONFLICT"]
    assert (client.get(memory_id).memory, len(client.history(memory_id))) == ("first", 4)


def test_a_decision_that_was_taken_while_another_worker_embedded_is_refused(services, client, monkeypatch):
    """The lock is lost, and meanwhile somebody else decides: the next round must not use what it read before."""
    memory_id, waiting = disputed(services, client)
    (conflict,) = client.conflicts()
    slow = client.resolve_conflict(conflict.id, "merged", text="slow")
    keys, real, thefts = services.keys, services.embedding.embed, []

    def steal_and_decide(texts, meter=None):
        if not thefts:
            thefts.append(memory_id)
            decided = scripts.commit(
                memory=keys.memory(memory_id),
                history=keys.history(memory_id),
                erased_history=keys.erased_history(memory_id),
                kept_entries=0,
                lock=keys.lock(memory_id),
                conflicts=keys.conflict(memory_id),
                based_on=3,
                based_on_commit=services.data.hget(keys.memory(memory_id), "commit_id"),
                spaces=services.settings.space.name,
                token="thief",
                ttl=60,
                erase=False,
                fields=["version", 4],
                removed=[],
                disputed=[],
                resolved=[waiting.id],
                changes=[
                    scripts.CommittedChange(
                        keys.applied(memory_id, "thief"),
                        "SUPERSEDED:4",
                        "4-0",
                        ["version", 4, "event", "SUPERSEDED", "job_id", "thief"],
                    )
                ],
            )
            assert scripts.run(services.data, [decided]) == [b"committed"]
        return real(texts)

    monkeypatch.setattr(services.embedding, "embed", steal_and_decide)
    drain(services, slow)
    assert thefts
    assert (slow.status(), errors_of(slow)) == ("failed", ["NO_SUCH_CONFLICT"])
    assert client.get(memory_id).memory == "theirs"


def test_two_submissions_may_wait_for_one_memory_and_are_decided_one_by_one(services, client):
    memory_id, _ = disputed(services, client)
    worked(services, client.update(memory_id, "third", expected_version=1, on_conflict="manual"))
    third, ours = client.conflicts()
    assert (third.ours, ours.ours) == ("third", "ours")
    worked(services, client.resolve_conflict(third.id, "ours"))
    (left,) = client.conflicts()
    assert (left.id, left.theirs) == (ours.id, "third")
    assert documents(services, memory_id) == 1


def test_a_decision_on_what_changed_since_it_was_seen_is_refused_and_the_conflict_stays(services, client):
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    worked(services, client.update(memory_id, metadata={"meanwhile": 1}))
    job = client.resolve_conflict(conflict.id, "ours", expected_version=conflict.current_version)
    drain(services, job)
    assert errors_of(job) == ["VERSION_MISMATCH"]
    assert [each.id for each in client.conflicts()] == [conflict.id]


@pytest.mark.parametrize(
    ("choice", "more"),
    [
        ("mine", {}),
        ("merged", {}),
        ("merged", {"metadata": {}}),
        ("ours", {"text": "x"}),
        ("theirs", {"metadata": {"a": 1}}),
        ("merged", {"text": " "}),
        ("merged", {"metadata": {"user_id": "eve"}}),
        ("ours", {"expected_version": 0}),
        ("ours", {"actor_id": ""}),
    ],
)
def test_a_decision_that_says_nothing_or_too_much_is_refused_before_it_is_queued(client, choice, more):
    with pytest.raises(ValidationError):
        client.resolve_conflict("memory:job", choice, **more)
    assert client.jobs() == []


_IDS = st.one_of(
    st.text(),
    st.binary(),
    st.none(),
    st.integers(),
    st.from_regex(r"[^:]*", fullmatch=True),
    st.builds("{}:{}".format, st.text(), st.text()),
    st.sampled_from(["a:", ":b", "a}:b", "{a}:b", "a:b\n", "a\n:b", "a:*", "*:b", "a b:c", "a:b c", "a:" + "b" * 257]),
)


@given(_IDS)
def test_no_other_string_is_taken_for_a_conflicts_id(given_id):
    build = OperationBuilder(Settings())
    try:
        memory_id, mark = checked_id(given_id)
    except ValidationError:
        with pytest.raises(ValidationError):
            build.resolve_conflict(given_id, "ours")
    else:  # hypothesis found a well-formed one
        assert f"{memory_id}:{mark}" == given_id
        assert given_id.isascii()
        assert not set(given_id) & set("{}*?[]\\ \n")


@pytest.mark.parametrize("wrong", ["", "nonsense", "a:", ":b", "a}:b", "a:b c", "a:b\n", None, 7, b"a:b"])
def test_a_malformed_id_is_refused(client, wrong):
    for call in (client.conflict, lambda given: client.resolve_conflict(given, "ours")):
        with pytest.raises(ValidationError):
            call(wrong)


def test_another_project_neither_sees_nor_decides_it(services, client):
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    with MemoryClient(services.settings, project="other") as stranger:
        assert stranger.conflicts() == []
        with pytest.raises(ConflictNotFoundError) as unseen:
            stranger.conflict(conflict.id)
        assert unseen.value.error_code == "NO_SUCH_CONFLICT"
        for choice, more in (("ours", {}), ("theirs", {}), ("merged", {"text": "mine now"})):
            job = stranger.resolve_conflict(conflict.id, choice, **more)
            drain(services, job)
            assert (job.status(), errors_of(job)) == ("failed", ["MEMORY_NOT_FOUND"])
    assert (client.get(memory_id).memory, len(client.conflicts())) == ("theirs", 1)


# Memories that go.


@pytest.mark.parametrize("together", [False, True], ids=["later", "in the same batch"])
def test_the_conflict_of_an_erased_memory_vanishes_with_it(services, client, together):
    memory_id = added(services, client, "base")
    worked(services, client.update(memory_id, "theirs"))
    job = client.update(memory_id, "ours", expected_version=1, on_conflict="manual")
    if not together:
        worked(services, job)
        assert len(client.conflicts()) == 1
    worked(services, client.delete(memory_id, hard=True))
    assert job.status() == "succeeded"
    assert services.data.exists(services.keys.conflict(memory_id)) == 0, "an erased text must not wait anywhere"
    assert client.conflicts() == []
    assert len(listed(services)) == 1, "housekeeping takes it off the list"
    keep_house(services.store, services.notifier, time.time())
    assert listed(services) == []
    late = client.resolve_conflict(job.wait(1).results[0].conflict_id, "ours")
    drain(services, late)
    assert errors_of(late) == ["MEMORY_ERASED"]


def test_housekeeping_leaves_what_waits(services, client):
    disputed(services, client)
    keep_house(services.store, services.notifier, time.time())
    assert len(client.conflicts()) == 1


def test_a_conflict_of_a_deleted_memory_waits_for_its_restore(services, client):
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    worked(services, client.delete(memory_id))
    early = client.resolve_conflict(conflict.id, "ours")
    drain(services, early)
    assert errors_of(early) == ["MEMORY_NOT_FOUND"]
    worked(services, client.restore(memory_id), client.resolve_conflict(conflict.id, "ours"))
    assert (client.get(memory_id).memory, client.conflicts()) == ("ours", [])


# Late arrivals.


def test_a_late_text_waits_beside_what_stood_when_it_was_submitted(services, client):
    memory_id = added(services, client, "base")
    worked(services, client.update(memory_id, "seen by both"))
    late = client.update(memory_id, "ours", on_conflict="manual")
    put_aside(services, memory_id, late)
    worked(services, client.update(memory_id, "theirs"))
    bring_back(services, late)
    (conflict,) = client.conflicts()
    assert (conflict.base, conflict.theirs, conflict.ours) == ("seen by both", "theirs", "ours")
    assert conflict.expected_version is None


def test_the_base_of_a_late_text_holds_nothing_newer_even_when_another_late_one_came_before(services, client):
    """That one's history entry is older than ours by its time, and holds the newer text by its place."""
    memory_id = added(services, client, "base")
    later_still = client.update(memory_id, metadata={"k": 1})
    late = client.update(memory_id, "ours", on_conflict="manual")
    put_aside(services, memory_id, later_still, late)
    worked(services, client.update(memory_id, "theirs"))
    bring_back(services, later_still)
    bring_back(services, late)
    assert client.get(memory_id).memory == "theirs", "it is newer than the late text"
    (conflict,) = client.conflicts()
    assert (conflict.base, conflict.theirs, conflict.ours) == ("base", "theirs", "ours")


def test_a_late_patch_of_other_keys_needs_nobody(services, client):
    memory_id = added(services, client, "base", metadata={"k": 1})
    late = client.update(memory_id, metadata={"mine": 1, "k": 3}, on_conflict="manual")
    put_aside(services, memory_id, late)
    worked(services, client.update(memory_id, "theirs", {"theirs": 1}))
    bring_back(services, late)
    assert client.conflicts() == []
    assert client.get(memory_id).metadata == {"k": 3, "mine": 1, "theirs": 1}


def test_items_of_a_batch_wait_by_themselves(services, client):
    memory_id = added(services, client, "base")
    other = added(services, client, "other")
    worked(services, client.update(memory_id, "theirs"))
    items = [
        {"memory_id": memory_id, "text": "ours", "expected_version": 1},
        {"memory_id": other, "text": "fine", "expected_version": 1},
    ]
    job = client.batch_update(items, on_conflict="manual")
    for raw in services.control.smembers(services.keys.shards):
        Drain(services, raw.decode()).run()
    waiting, fine = job.wait(1).results
    assert (waiting.event, fine.event, fine.conflict_id) == (Event.SUPERSEDED, Event.UPDATE, None)
    (conflict,) = client.conflicts()
    assert (conflict.id, conflict.job_id) == (waiting.conflict_id, job.id)
    worked(services, client.resolve_conflict(conflict.id, "ours"))
    assert client.get(memory_id).memory == "ours"


# Deaths.


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_at_any_step_still_gets_the_conflict_listed_once(services, client, monkeypatch, after):
    deaths = 0
    for step in range(1, 50):
        memory_id = added(services, client, "base")
        worked(services, client.update(memory_id, "theirs"))
        job = client.update(memory_id, "ours", expected_version=1, on_conflict="manual")
        died = drain_dying(services, monkeypatch, step, job, memory_id, after=after)
        deaths += died
        (conflict,) = client.conflicts()
        assert (conflict.job_id, conflict.ours) == (job.id, "ours"), f"died at step {step}"
        assert job.wait(1).results[0].conflict_id == conflict.id, f"died at step {step}"
        assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3]
        worked(services, client.resolve_conflict(conflict.id, "theirs"))
        if not died:
            break
    assert deaths >= 5, "the drain was expected to make at least five round trips"


@pytest.mark.parametrize("choice", ["ours", "theirs"])
@pytest.mark.parametrize("after", DEATHS)
def test_a_decision_whose_worker_dies_at_any_step_has_one_effect(services, client, monkeypatch, choice, after):
    deaths = 0
    for step in range(1, 50):
        memory_id, _ = disputed(services, client)
        (conflict,) = client.conflicts()
        job = client.resolve_conflict(conflict.id, choice, actor_id="settle")
        died = drain_dying(services, monkeypatch, step, job, memory_id, after=after)
        deaths += died
        assert job.status() == "succeeded", f"died at step {step}: {job.wait(1)}"
        history = client.history(memory_id)
        assert [entry.version for entry in history] == [1, 2, 3, 4], f"died at step {step}"
        assert (history[-1].actor_id, client.get(memory_id).memory) == ("settle", choice)
        assert (documents(services, memory_id), listed(services)) == (0, []), f"died at step {step}"
        if not died:
            break
    assert deaths >= 5


# Expected versions without merging.


@pytest.mark.parametrize("expected", [1, 9])
def test_a_refused_version_says_both_and_shows_the_memory_as_it_is(services, client, expected):
    memory_id = added(services, client, "base")
    worked(services, client.update(memory_id, "theirs", {"k": 2}))
    job = client.update(memory_id, "ours", expected_version=expected)
    drain(services, job)
    (item,) = job.wait(1).results
    assert (item.error["type"], item.error["code"]) == ("ConflictError", "VERSION_MISMATCH")
    details = item.error["details"]
    assert (details["expected_version"], details["current_version"]) == (expected, 2)
    assert details["current"] == client.get(memory_id).model_dump(mode="json")
    assert "theirs" not in str(services.control.hgetall(services.keys.job(job.id))), "records hold no text"


@pytest.mark.parametrize("mode", ["merge", "manual"])
def test_a_version_that_never_was_is_refused_in_every_mode(services, client, mode):
    memory_id = added(services, client, "base")
    job = client.update(memory_id, "ours", expected_version=9, on_conflict=mode)
    drain(services, job)
    (item,) = job.wait(1).results
    assert (item.error["code"], item.error["details"]["current_version"]) == ("VERSION_MISMATCH", 1)
    assert (client.get(memory_id).version, client.conflicts()) == (1, [])


def test_a_version_made_by_the_same_batch_is_a_base(services, client):
    memory_id = added(services, client, "base")
    jobs = [
        client.update(memory_id, "second"),
        client.update(memory_id, "third"),
        client.update(memory_id, "ours", expected_version=2, on_conflict="manual"),
    ]
    drain(services, jobs[0])
    (conflict,) = client.conflicts()
    assert (conflict.base, conflict.theirs, conflict.ours) == ("second", "third", "ours")


async def test_the_async_client_sees_and_decides_the_same(services, client):
    memory_id, _ = disputed(services, client)
    async with AsyncMemoryClient(services.settings) as twin:
        (conflict,) = await twin.conflicts()
        assert conflict == client.conflict(conflict.id) == await twin.conflict(conflict.id)
        refused = await twin.update(memory_id, "late", expected_version=2)
        decision = await twin.resolve_conflict(conflict.id, "ours", actor_id="settle")
        drain(services, client.job(refused.id))
        (item,) = (await refused.wait(1)).results
        assert (item.error["code"], item.error["details"]["expected_version"]) == ("VERSION_MISMATCH", 2)
        assert item.error["details"]["current"]["memory"] in ("theirs", "ours")
        assert (await decision.wait(1)).status == "succeeded"
        assert await twin.conflicts() == []
        with pytest.raises(ConflictNotFoundError):
            await twin.conflict(conflict.id)
        with pytest.raises(ValidationError):
            await twin.conflict("nonsense")
    assert client.history(memory_id)[-1].actor_id == "settle"


def test_a_memory_of_another_project_is_not_shown_by_a_refused_version(services, client):
    memory_id = added(services, client, "secret")
    with MemoryClient(services.settings, project="other") as stranger:
        job = stranger.update(memory_id, "mine", expected_version=9)
        drain(services, job)
        assert "secret" not in str(job.wait(1))
        with pytest.raises(MemoryNotFoundError):
            stranger.get(memory_id)


def test_a_decision_reads_its_own_document_and_no_other(services, client):
    """A memory may have any number of them."""
    memory_id, _ = disputed(services, client)
    (conflict,) = client.conflicts()
    services.data.hset(services.keys.conflict(memory_id), mapping={f"{number}": "{" for number in range(300)})
    drain(services, job := client.resolve_conflict(conflict.id, "ours"))
    assert job.wait(1).status == "succeeded"
