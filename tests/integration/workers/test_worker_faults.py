"""A fault of the worker or its account: jobs wait without spending attempts, and a worker without it does them."""

from __future__ import annotations

import pytest

from emendo_client.errors import ConfigurationError
from emendo_client.testing import Fault
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.error_codes import ErrorCode
from emendo_config.queues import INTERACTIVE
from emendo_config.spaces.registry import SpaceRecord, SpaceState, remove_space, save_space
from emendo_ops.doctor.control_redis import check_jobs
from tests.support.inferring import started
from tests.support.intake import added, drain, drain_all, let_time_pass, reconfigure, shard_of_job

OTHER = SpaceRecord(EmbeddingSpace("unheard-of", "model", 8))


@pytest.fixture
def sane(settings, services):
    """A second worker's services, without the fault that a test gives the first."""
    made = started(settings)
    yield made
    made.stop()


@pytest.fixture(params=["revoked key", "missing provider", "unreadable registry", "registry of another type"])
def spoil(request, services, openai_server):
    """A fault: what begins it, what ends it, its code."""
    data, keys = services.data, services.keys
    if request.param == "revoked key":
        fault = Fault("unauthorized", times=10_000)
        begin, end = lambda: openai_server.faults.add(fault), openai_server.faults.clear
        code = "AUTHENTICATION"
    elif request.param == "missing provider":
        begin, end = lambda: save_space(data, keys, OTHER), lambda: remove_space(data, keys, OTHER.name)
        code = "PROVIDER_MISSING"
    elif request.param == "registry of another type":
        kept = data.dump(keys.spaces)
        begin = lambda: data.pipeline().delete(keys.spaces).set(keys.spaces, "text", px=60_000).execute()  # noqa: E731
        end = lambda: data.restore(keys.spaces, 0, kept, replace=True)  # noqa: E731  # as the others
        code = "SPACES_UNREADABLE"
    else:
        begin, end = lambda: data.hset(keys.spaces, "later", '{"new": 1}'), lambda: data.hdel(keys.spaces, "later")
        code = "SPACES_UNREADABLE"
    yield begin, end, code
    end()


def test_jobs_wait_while_the_worker_has_a_fault_and_go_on_when_it_is_gone(services, client, spoil, caplog):
    begin, end, code = spoil
    memory_id = added(services, client)
    begin()
    jobs = [client.update(memory_id, f"text {number}") for number in range(3)]
    for _ in range(services.settings.max_attempts + 2):
        drain_all(services)
        let_time_pass(services)
    assert {(job.status(), job.info().attempts) for job in jobs} <= {("retrying", 0), ("queued", 0)}
    assert "retrying" in {job.status() for job in jobs}
    assert services.faults.blocks(INTERACTIVE)
    assert caplog.text.count("the worker claims no jobs") == 1, "it is said once"
    services.faults.look()
    assert services.faults.blocks(INTERACTIVE), "the fault lasts"
    services.leases.renew()
    found = client.health()
    assert [(fault.code, INTERACTIVE in fault.queues) for fault in found.worker_faults.values()] == [(code, True)]
    assert not found.ok
    (finding,) = [each for each in check_jobs(services.settings) if each.check == "worker"]
    assert (finding.state, code in finding.found) == ("fail", True)
    end()
    services.faults.look()
    assert not services.faults.blocks(INTERACTIVE)
    services.leases.renew()
    assert client.health().worker_faults == {}
    let_time_pass(services)
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 3
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3, 4]
    assert client.health().dead == 0


def test_a_drain_that_meets_the_fault_takes_no_further_jobs(services, client, spoil):
    begin, end, _ = spoil
    memory_id = added(services, client)
    reconfigure(services, drain_batch=1)
    jobs = [client.update(memory_id, f"text {number}") for number in range(3)]
    begin()
    assert drain(services, jobs[0]) == 1
    assert [job.status() for job in jobs] == ["retrying", "queued", "queued"]
    end()
    services.faults.look()
    let_time_pass(services)
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 3


def test_a_worker_without_the_fault_does_the_work_of_one_that_has_it(services, sane, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "text")
    shard = shard_of_job(services, job)
    services.report_spaces_fault(_refused())
    assert drain(services, job) == 0, "the one with the fault claims nothing"
    assert services.control.exists(services.keys.wakeup(shard)) == 0, "and leaves the shard to the next sweep"
    assert drain(sane, job) == 1
    assert job.status() == "succeeded"


def test_a_worker_that_stops_takes_its_fault_with_it(services, client):
    services.leases.start()
    services.report_spaces_fault(_refused())
    services.leases.renew()
    assert len(client.health().worker_faults) == 1
    services.leases.stop()
    assert client.health().worker_faults == {}


def test_a_space_that_is_only_filled_blocks_nothing(services, client):
    save_space(services.data, services.keys, SpaceRecord(OTHER.space, state=SpaceState.FILLING))
    assert added(services, client)
    assert not services.faults.blocks(INTERACTIVE)


def _refused():
    return ConfigurationError("cannot be read", error_code=ErrorCode.SPACES_UNREADABLE)
