"""A process whose clock is wrong sees, keeps and expires what all others do: the clock of Redis decides."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import MemoryNotFoundError
from emendo_workers.memories.steps import opening
from tests.support.intake import added, drain, with_settings

_TIME, _TIME_NS = time.time, time.time_ns


@pytest.fixture(params=[-7_200, 7_200])
def wrong_clock(request, monkeypatch):
    """Sets this process' clock two hours back or ahead, when it is called."""

    def set_wrong() -> None:
        monkeypatch.setattr("time.time", lambda: _TIME() + request.param)
        monkeypatch.setattr("time.time_ns", lambda: _TIME_NS() + request.param * 1_000_000_000)

    return set_wrong


def seen(client: MemoryClient, memory_id: str) -> list[bool]:
    """Whether get, get_all and search show the memory."""
    try:
        client.get(memory_id)
    except MemoryNotFoundError:
        shown = False
    else:
        shown = True
    listed = memory_id in [each.id for each in client.get_all(user_id="ana").results]
    found = memory_id in [each.id for each in client.search("Oslo", user_id="ana")]
    return [shown, listed, found]


def test_a_reader_sees_what_is_valid_and_nothing_that_has_expired(services, client, wrong_clock):
    valid = added(services, client, "I am in Oslo.", expires_at=datetime.now(UTC) + timedelta(hours=1))
    over = added(services, client, "I was in Oslo.", expires_at=datetime.now(UTC) + timedelta(milliseconds=200))
    threading.Event().wait(0.3)
    wrong_clock()
    with MemoryClient(services.settings) as reader:
        assert seen(reader, valid) == [True] * 3
        assert seen(reader, over) == [False] * 3


def test_a_worker_changes_what_is_valid(services, client, wrong_clock):
    valid = added(services, client, "I am in Oslo.", expires_at=datetime.now(UTC) + timedelta(hours=1))
    wrong_clock()
    job = client.update(valid, "I am in Bergen.")
    drain(services, job)
    assert job.wait(1).status == "succeeded"


def test_a_worker_is_alive_for_all_and_by_all(services, client, wrong_clock):
    wrong_clock()
    services.leases.renew()
    assert client.health().workers == 1
    last = services.control.zscore(services.keys.workers, services.worker)
    assert abs(last / 1_000 - _TIME()) < 30


@pytest.mark.parametrize("job_ttl", [4_000, 1_900])
def test_a_new_update_never_reads_the_history(services, client, monkeypatch, wrong_clock, job_ttl):
    memory_id = added(services, client)
    with_settings(services, client, job_ttl=job_ttl)

    def refuse(*_: object) -> None:
        raise AssertionError("the history was read")

    monkeypatch.setattr(opening, "effect_of", refuse)
    wrong_clock()
    job = client.update(memory_id, "I like seafood.")
    drain(services, job)
    assert job.wait(1).status == "succeeded"
