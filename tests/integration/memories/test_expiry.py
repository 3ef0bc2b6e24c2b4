"""Memories whose time has come: hidden at once, marked once, and back when somebody restores them."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import MemoryNotFoundError, ValidationError
from emendo_config.celery_app import HOUSEKEEPING_TASK, create_app
from emendo_workers.maintenance.expiry import expire_memories
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.intake import added, drain, drain_all
from tests.support.patience import PATIENCE, until


def expired(services, client, text: str = "I am in Oslo until Friday.") -> str:
    """A memory whose time has just come."""
    soon = datetime.now(UTC) + timedelta(milliseconds=150)
    memory_id = added(services, client, text, expires_at=soon)
    until(lambda: datetime.now(UTC) > soon)
    return memory_id


def test_it_is_hidden_from_every_read_before_anybody_marked_it(services, client):
    memory_id = expired(services, client)
    with pytest.raises(MemoryNotFoundError):
        client.get(memory_id)
    assert client.get_all(user_id="ana").total == 0
    assert client.search("Oslo", user_id="ana") == []
    assert client.get(memory_id, include_deleted=True).is_deleted is False
    assert [entry.event for entry in client.history(memory_id)] == ["ADD"]


def test_it_is_marked_once_even_when_two_sweeps_ask_before_a_worker_comes(services, client):
    memory_id = expired(services, client)
    stays = added(services, client, "I live in Lisbon.", expires_at=datetime.now(UTC) + timedelta(days=1))
    now = time.time()
    assert [keep_house(services.store, services.notifier, now)["expired"] for _ in range(2)] == [1, 1]
    drain_all(services)
    assert keep_house(services.store, services.notifier, now)["expired"] == 0
    assert [entry.event for entry in client.history(memory_id)] == ["ADD", "EXPIRE"]
    assert [entry.event for entry in client.history(stays)] == ["ADD"]
    memory = client.get(memory_id, include_deleted=True)
    assert (memory.is_deleted, memory.version) == (True, 2)
    assert [info.status for info in client.jobs() if info.kind == "expire"] == ["succeeded", "succeeded"]
    assert client.diagnose(memory_id).ok


def test_each_project_has_its_own_expiry_job(services, client):
    with MemoryClient(services.settings, project="another") as other:
        mine, theirs = expired(services, client), expired(services, other)
        expire_memories(services.store, services.notifier, time.time())
        drain_all(services)
        assert [info.kind for info in client.jobs(limit=1)] == [info.kind for info in other.jobs(limit=1)] == ["expire"]
        assert client.history(mine)[-1].event == other.history(theirs)[-1].event == "EXPIRE"


@pytest.mark.parametrize("marked", [False, True], ids=["before the mark", "after it"])
def test_changing_it_fails_and_restoring_it_lets_it_stay(services, client, marked):
    memory_id = expired(services, client)
    if marked:
        expire_memories(services.store, services.notifier, time.time())
        drain_all(services)
    update = client.update(memory_id, "I am in Bergen.")
    delete = client.delete(memory_id) if not marked else None
    drain_all(services)
    assert update.wait(1).error["type"] == "MemoryNotFoundError"
    assert delete is None or delete.wait(1).error["type"] == "MemoryNotFoundError"
    client.restore(memory_id)
    drain_all(services)
    memory = client.get(memory_id)
    assert (memory.memory, memory.expires_at) == ("I am in Oslo until Friday.", None)
    assert expire_memories(services.store, services.notifier, time.time()) == 0
    assert [hit.id for hit in client.search("Oslo", user_id="ana")] == [memory_id]


def test_a_restore_that_comes_before_the_mark_is_not_undone_by_it(services, client):
    memory_id = expired(services, client)
    expire_memories(services.store, services.notifier, time.time())
    restore = client.restore(memory_id)
    drain(services, restore)
    drain_all(services)
    assert client.get(memory_id).is_deleted is False
    assert [entry.event for entry in client.history(memory_id)] == ["ADD", "RESTORE"]


def test_a_memory_that_was_erased_before_the_mark_fails_without_a_dead_letter(services, client):
    memory_id = expired(services, client)
    expire_memories(services.store, services.notifier, time.time())
    erasure = client.delete(memory_id, hard=True)
    drain(services, erasure)
    drain_all(services)
    assert erasure.status() == "succeeded"
    assert client.dead_letters() == []


def test_a_store_without_an_index_has_nothing_to_expire(services):
    services.data.execute_command("FT.DROPINDEX", services.keys.index(services.settings.space.name))
    assert expire_memories(services.store, services.notifier, time.time()) == 0


@pytest.mark.parametrize("moment", ["2030-01-01T00:00:00", "soon", 1_700_000_000, "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_is_none_is_refused(client, moment):
    with pytest.raises(ValidationError):
        client.add("text", user_id="ana", expires_at=moment)


PAST = ["2020-01-01T00:00:00Z", datetime(2020, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("infer", [False, True])
@pytest.mark.parametrize("moment", [*PAST, "just now"])
def test_one_that_is_past_is_refused_before_anything_is_enqueued(services, client, moment, infer):
    moment = datetime.now(UTC) if moment == "just now" else moment
    with pytest.raises(ValidationError, match="expires_at is past") as refused:
        client.add("I am in Oslo.", user_id="ana", infer=infer, expires_at=moment)
    assert "later time" in refused.value.suggestion
    assert client.jobs() == []


def test_the_clock_of_redis_decides_whether_it_is_past(services, client, monkeypatch):
    """A caller's own clock may be two hours ahead or back."""
    now = time.time
    for wrong in (-7_200, 7_200):
        monkeypatch.setattr("time.time", lambda wrong=wrong: now() + wrong)
        added(services, client, expires_at=datetime.now(UTC) + timedelta(hours=1))
        with pytest.raises(ValidationError, match="expires_at is past"):
            client.add("text", user_id="ana", infer=False, expires_at=datetime.now(UTC) - timedelta(seconds=1))


def test_a_repeated_call_gets_its_job_although_the_moment_has_passed_meanwhile(services, client):
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    first = client.add("I am in Oslo.", user_id="ana", infer=False, expires_at=soon, idempotency_key="k")
    threading.Event().wait(0.5)
    again = client.add("I am in Oslo.", user_id="ana", infer=False, expires_at=soon, idempotency_key="k")
    assert again.id == first.id
    drain_all(services)
    assert first.wait(1).status == "succeeded", "it was accepted in time"


@pytest.mark.parametrize("infer", [False, True])
def test_in_a_batch_an_item_with_one_that_is_past_fails_alone(services, client, infer):
    items = [
        {"messages": "I am in Oslo.", "user_id": "ana", "expires_at": PAST[0]},
        {"messages": "I live in Lisbon.", "user_id": "ana"},
        {"messages": "I was in Rome.", "user_id": "ana", "expires_at": datetime.now(UTC) - timedelta(seconds=1)},
    ]
    job = client.batch_add(items, infer=infer)
    drain_all(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    errors = [item.error and item.error["message"] for item in result.results]
    assert errors == ["expires_at is past: the memory would be gone at once", None, errors[0]]
    assert {item.error["code"] for item in result.results if item.error} == {"VALIDATION"}
    assert client.dead_letters() == []


def test_a_worker_marks_it_when_the_housekeeping_task_runs(emendo_client, emendo_worker):
    soon = datetime.now(UTC) + timedelta(milliseconds=500)
    job = emendo_client.add("I am in Oslo.", user_id="ana", infer=False, expires_at=soon)
    memory_id = job.wait(raise_on_failure=True).results[0].memory_id
    app, deadline = create_app(emendo_worker), time.monotonic() + PATIENCE
    while emendo_client.history(memory_id)[-1].event != "EXPIRE":
        assert time.monotonic() < deadline, "it was never marked"
        app.send_task(HOUSEKEEPING_TASK)
        threading.Event().wait(0.2)
    assert [entry.event for entry in emendo_client.history(memory_id)] == ["ADD", "EXPIRE"]
    expiry = next(info for info in emendo_client.jobs() if info.kind == "expire")
    assert emendo_client.job(expiry.job_id).wait(PATIENCE).status == "succeeded"
