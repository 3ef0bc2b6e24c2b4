"""The circuit breaker: a provider that is down is left alone, and nobody pays for it."""

from __future__ import annotations

import pytest

from emendo_client.errors import CircuitOpenError, EmbeddingError, NetworkError, RateLimitError
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store import scripts
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.services import Services
from tests.support.intake import added, drain, shard_of_job


class Caller:
    """One who calls the provider through a breaker of these settings."""

    def __init__(self, services: Services, **changed: float) -> None:
        self._control = services.control
        self.breaker = CircuitBreaker(services.keys, services.settings.model_copy(update=changed), "openai")

    def ask(self) -> bool:
        return self.breaker.read_check(scripts.run(self._control, [self.breaker.check()])[0])

    def report(self, error) -> None:
        scripts.run(self._control, [self.breaker.report(error)])


@pytest.fixture
def breaker(services):
    return Caller(services, breaker_failures=3, breaker_pause=60.0)


def time_passes(services: Services) -> None:
    """The pause is over."""
    services.control.hset(services.keys.breaker("openai"), "until", 1)


def test_it_opens_after_failures_in_a_row_and_says_how_long(breaker):
    for _ in range(3):
        breaker.ask()
        breaker.report(NetworkError("down"))
    with pytest.raises(CircuitOpenError) as refused:
        breaker.ask()
    assert 50 < refused.value.details["retry_after"] <= 60


@pytest.mark.parametrize("answer", [None, RateLimitError("slower"), EmbeddingError("refused")])
def test_any_answer_is_a_sign_of_life(breaker, answer):
    for report in (NetworkError("x"), NetworkError("x"), answer, NetworkError("x"), NetworkError("x")):
        breaker.report(report)
    breaker.ask()


def test_half_open_one_caller_probes_and_success_closes_it(breaker, services):
    for _ in range(3):
        breaker.report(NetworkError("down"))
    time_passes(services)
    breaker.ask()
    with pytest.raises(CircuitOpenError):
        breaker.ask()
    breaker.report(None)
    for _ in range(3):
        breaker.ask()


def test_a_failed_probe_doubles_the_pause_up_to_the_longest(services):
    breaker = Caller(services, breaker_failures=1, breaker_pause=10.0, breaker_longest_pause=30.0)
    pauses = []
    for _ in range(4):
        breaker.report(NetworkError("down"))
        with pytest.raises(CircuitOpenError) as refused:
            breaker.ask()
        pauses.append(round(refused.value.details["retry_after"]))
        time_passes(services)
        breaker.ask()
    assert pauses == [10, 20, 30, 30]


def test_jobs_wait_for_a_provider_that_is_down_and_spend_no_attempts(
    services, client, breaker, openai_server, monkeypatch
):
    memory_id = added(services, client)
    monkeypatch.setattr(services.embedding.requests._admission, "_breaker", breaker.breaker)
    openai_server.clear_requests()
    openai_server.faults.add(Fault("unavailable", times=1_000))
    job = client.update(memory_id, "new text")
    for _ in range(20):
        drain(services, job)
        services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
        Sweeper(services).sweep()
    info = job.info()
    assert (info.status, info.attempts, info.error["code"]) == ("retrying", 1, "CIRCUIT_OPEN")
    assert len(openai_server.requests) == 3, "nobody calls a provider that is down"
    other = client.update(memory_id, metadata={"needs": "no provider"})
    drain(services, other)
    assert other.status() == "succeeded"
    openai_server.faults.clear()
    time_passes(services)
    services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
    Sweeper(services).sweep()
    drain(services, job)
    assert job.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "new text"
