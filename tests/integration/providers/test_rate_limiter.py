"""The rate limiter: all workers together stay under the provider's limits, and learn them from its answers."""

from __future__ import annotations

import itertools
import multiprocessing
import secrets
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from emendo_client.errors import EmbeddingError, NetworkError, QuotaExceededError, RateLimitError, ThrottledError
from emendo_client.providers.embeddings import Embeddings
from emendo_client.rate_limits import Allowance, RateLimitState
from emendo_client.testing import Fault, RateLimits
from emendo_config import Keys, Settings
from emendo_config.store import scripts
from emendo_config.store.connections import connect
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.providers.admission import AdmissionControl
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.rate_limiter import BURST, MAX_PAUSE, Limits, RateLimiter, Reservation
from emendo_workers.services import Services
from tests.support.intake import added, drain, shard_of_job

MINUTE = 60_000  # milliseconds
LONGEST_WAIT = 1.0


class Worker:
    """One worker's view of the pace; limits are slow, so that a busy machine does not change what a test sees."""

    def __init__(self, services: Services, requests: int | None = None, tokens: int | None = None) -> None:
        self.control, self.key = services.control, services.keys.rate_limit("openai")
        limits = {"embedding_requests_per_minute": requests, "embedding_tokens_per_minute": tokens}
        self.rate_limiter = RateLimiter(services.keys, services.settings.model_copy(update=limits), "openai")

    def reserve(self, tokens: int = 1) -> Reservation:
        call = secrets.token_hex(8)
        (reply,) = scripts.run(self.control, [self.rate_limiter.reserve(call, tokens, LONGEST_WAIT)])
        return self.rate_limiter.read_reservation(call, tokens, LONGEST_WAIT, reply)

    def wait(self, tokens: int = 1) -> float:
        """Seconds until the next call's turn; for when it is too far to be reserved."""
        with pytest.raises(ThrottledError) as refused:
            self.reserve(tokens)
        return refused.value.details["retry_after"]

    def answered(self, reservation: Reservation, used: int = 0, state: RateLimitState | None = None) -> bool:
        """True when there was something to tell the others."""
        news = self.rate_limiter.after_answer(reservation, Embeddings([], used, state or RateLimitState()))
        scripts.run(self.control, news)
        return bool(news)

    def refused(self, reservation: Reservation, **said) -> None:
        scripts.run(self.control, self.rate_limiter.after_failure(reservation, RateLimitError("slower", **said)))

    def moment(self, field: str) -> float:
        """Milliseconds, by the Redis clock."""
        return float(self.control.hget(self.key, field))

    def time_passes(self, seconds: float) -> None:
        for field in ("requests", "tokens", "paused"):
            if self.control.hexists(self.key, field):
                self.control.hset(self.key, field, f"{self.moment(field) - seconds * 1000:.4f}")


def says(*, requests: Allowance | None = None, tokens: Allowance | None = None) -> RateLimitState:
    return RateLimitState(requests or Allowance(), tokens or Allowance())


def turns(control, keys: Keys) -> list[float]:
    """When each reserved call goes out (ms), by the marks the script left."""
    marks = list(control.scan_iter(match=keys.reservation("openai", "*"), count=1_000))
    return sorted(float(turn) for turn in control.mget(marks))


# The bucket.


def test_without_limits_nobody_waits_and_nothing_is_kept(services):
    worker = Worker(services)
    for _ in range(50):
        reservation = worker.reserve(1_000_000)
        assert (reservation.wait, reservation.tokens) == (0.0, None)
        assert not worker.answered(reservation, used=900_000)
    assert list(services.control.scan_iter(match=f"{services.keys.rate_limit('*')}")) == []
    assert list(services.control.scan_iter(match=services.keys.reservation("*", "*"))) == []


def test_a_call_too_early_is_told_how_long_to_wait_and_reserves_nothing(services):
    worker = Worker(services, requests=6)
    assert worker.reserve().wait == 0
    spent = worker.moment("requests")
    assert 5 < worker.wait() <= 10
    assert worker.moment("requests") == spent
    worker.time_passes(10)
    assert worker.reserve().wait == 0


def test_tokens_are_limited_by_themselves(services):
    worker = Worker(services, requests=60_000, tokens=600)
    assert worker.reserve(300).wait == 0
    assert 20 < worker.wait() <= 30 - BURST + 0.1


def test_a_call_larger_than_the_bucket_passes_and_the_next_wait_for_it(services):
    worker = Worker(services, tokens=600)
    assert worker.reserve(6_000).wait == 0
    assert 500 < worker.wait() < 600
    worker.time_passes(600)
    assert worker.reserve(6_000).wait == 0


def test_a_large_call_is_not_kept_waiting_by_small_ones(services):
    worker = Worker(services, tokens=600)
    worker.reserve(100)
    assert worker.wait(10_000) == pytest.approx(worker.wait(1), abs=5)
    worker.time_passes(10)
    assert worker.reserve(10_000).tokens == 10_000


def test_an_idle_hour_saves_up_no_more_than_the_burst(services):
    worker = Worker(services, tokens=600)
    worker.reserve(1)
    worker.time_passes(3_600)
    worker.reserve(200)
    assert 20 - BURST - 5 < worker.wait() <= 20 - BURST + 0.1


def test_a_rate_limit_and_its_reservations_expire(services):
    worker = Worker(services, tokens=600)
    reservation = worker.reserve(60_000)
    assert 3_600 + 5_900 < services.control.ttl(worker.key) <= 3_600 + 6_000
    mark = services.keys.reservation("openai", reservation.id)
    tries = 3 * services.settings.redis_timeout
    assert tries < services.control.ttl(mark) <= 2 * tries
    worker.refused(reservation, retry_after=MAX_PAUSE)
    assert services.control.ttl(worker.key) > MAX_PAUSE
    assert tries < services.control.ttl(mark) <= 2 * tries


REQUESTS, TOKENS, COST = 6_000, 600_000, 150


def _crowd(settings: Settings, threads: int, calls: int) -> None:
    """One process of many that all want to call at once."""
    control = connect(settings.control_url, settings)
    rate_limiter = RateLimiter(Keys(settings.key_prefix), settings, "openai")

    def call(number: int) -> None:
        scripts.run(control, [rate_limiter.reserve(secrets.token_hex(8), COST, LONGEST_WAIT)])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(calls)))
    control.close()


@pytest.mark.parametrize(
    ("requests", "tokens"),
    [
        pytest.param(REQUESTS, None, marks=pytest.mark.slow),
        pytest.param(None, TOKENS, marks=pytest.mark.slow),
        (REQUESTS, TOKENS),
    ],
)
def test_many_processes_together_keep_the_rate_over_every_stretch_of_time(services, requests, tokens):
    limits = {"embedding_requests_per_minute": requests, "embedding_tokens_per_minute": tokens}
    settings = services.settings.model_copy(update=limits)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for crowd in [pool.submit(_crowd, settings, 4, 600) for _ in range(2)]:
            crowd.result()
    out = turns(services.control, services.keys)
    per_call = max(MINUTE / requests if requests else 0.0, COST * MINUTE / tokens if tokens else 0.0)
    assert len(out) >= (BURST + LONGEST_WAIT) * 1_000 / per_call - 1, "the bucket was not used"
    for first, last in itertools.combinations(range(len(out)), 2):
        stretch = out[last] - out[first] + BURST * 1_000
        calls = last - first + 1
        assert not requests or calls * MINUTE / requests <= stretch + 1
        assert not tokens or (calls - 1) * COST * MINUTE / tokens <= stretch + 1


# Run twice.


def test_a_reservation_that_is_repeated_reserves_once(services):
    worker = Worker(services, tokens=600)
    command = worker.rate_limiter.reserve("call", 100, LONGEST_WAIT)
    first = scripts.run(services.control, [command])
    spent = worker.moment("tokens")
    again = scripts.run(services.control, [command])
    assert first == again == [[0, 1, 0, 0]]
    assert worker.moment("tokens") == spent


def test_an_answer_that_is_told_twice_is_learnt_from_once(services):
    worker = Worker(services, tokens=600)
    news = worker.rate_limiter.after_answer(worker.reserve(300), Embeddings([], 100, RateLimitState()))
    assert scripts.run(services.control, news) == [1]
    spent = worker.moment("tokens")
    assert scripts.run(services.control, news) == [0]
    assert worker.moment("tokens") == spent


# Limits learnt from answers.


def test_what_was_used_corrects_what_was_reserved(services):
    worker = Worker(services, tokens=600)
    for used, corrected in ((100, -200), (450, 150)):
        reservation = worker.reserve(300)
        spent = worker.moment("tokens")
        assert worker.answered(reservation, used)
        assert worker.moment("tokens") - spent == pytest.approx(corrected * MINUTE / 600, abs=0.01)
        worker.time_passes(100)
    reservation = worker.reserve(300)
    assert not worker.answered(reservation, 300), "a right estimate is no news"
    assert not worker.answered(reservation, 0), "a provider that does not count tokens teaches nothing"


def test_limits_are_learnt_from_the_answers_by_all_workers(services):
    worker, other = Worker(services), Worker(services)
    assert worker.answered(worker.reserve(), state=says(requests=Allowance(6, 5, 10.0)))
    assert other.reserve().stated == Limits(6, 0)
    assert 5 < worker.wait() <= 10


def test_the_same_limits_again_are_no_news(services):
    worker = Worker(services)
    state = says(requests=Allowance(600, 590, 1.0), tokens=Allowance(60_000, 50_000, 1.0))
    assert worker.answered(worker.reserve(40), 40, state)
    assert not worker.answered(worker.reserve(40), 40, state)


@pytest.mark.parametrize(("set_", "told"), [(6, 60_000), (60_000, 6)])
def test_the_lower_of_setting_and_header_counts(services, set_, told):
    worker = Worker(services, requests=set_)
    worker.answered(worker.reserve(), state=says(requests=Allowance(told, told, 0.0)))
    worker.time_passes(100)
    worker.reserve()
    assert 5 < worker.wait() <= 10


def test_a_limit_that_is_raised_or_no_longer_told_of_is_learnt_too(services):
    worker = Worker(services)
    worker.answered(worker.reserve(), state=says(requests=Allowance(6, 6)))
    worker.answered(worker.reserve(), state=says(requests=Allowance(60_000, 60_000)))
    assert worker.control.hget(worker.key, "limit_requests") == b"60000"
    worker.time_passes(100)
    assert worker.answered(worker.reserve())
    assert worker.reserve().tokens is None


def test_what_remains_lowers_the_bucket_and_never_fills_it(services):
    worker = Worker(services, requests=600)
    reservation = worker.reserve()
    spent = worker.moment("requests")
    assert not worker.answered(reservation, state=says(requests=Allowance(remaining=500)))
    assert worker.moment("requests") == spent
    assert worker.answered(reservation, state=says(requests=Allowance(remaining=3)))
    now = services.control.time()
    left = (now[0] * 1_000 + now[1] / 1_000 - worker.moment("requests")) * 600 / MINUTE
    assert left >= 3
    assert worker.moment("requests") - spent >= (BURST * 10 - 1 - 3) * MINUTE / 600
    empty = Worker(services, tokens=60)
    owing = empty.reserve(600)
    owed = empty.moment("tokens")
    empty.answered(owing, state=says(tokens=Allowance(remaining=2)))
    assert empty.moment("tokens") == owed


# Refusals.


def test_a_refusal_makes_all_workers_pause(services):
    worker, other = Worker(services), Worker(services, requests=600)
    worker.refused(worker.reserve(), retry_after=30.0)
    assert 25 < worker.wait() <= 30
    assert 25 < other.wait() <= 31
    worker.time_passes(31)
    assert worker.reserve().wait == other.reserve().wait == 0


def test_a_pause_is_not_shortened_by_a_shorter_one(services):
    worker = Worker(services)
    first, second = worker.reserve(), worker.reserve()
    worker.refused(first, retry_after=30.0)
    worker.refused(second, retry_after=2.0)
    assert worker.wait() > 25


def test_after_a_pause_there_is_no_burst(services):
    worker = Worker(services, requests=600)
    worker.refused(worker.reserve(), retry_after=30.0)
    worker.time_passes(30)
    ends = worker.moment("paused")
    calls = [worker.reserve() for _ in range(5)]
    marks = services.control.mget([services.keys.reservation("openai", call.id) for call in calls])
    for number, turn in enumerate(marks):
        assert float(turn) >= ends + number * MINUTE / 600 - 0.01


def test_tokens_given_back_do_not_end_a_pause(services):
    worker = Worker(services, tokens=600)
    under_way, refused = worker.reserve(10), worker.reserve(10)
    worker.refused(refused, retry_after=30.0)
    worker.answered(under_way, used=1)
    assert worker.wait() > 25


def test_without_retry_after_the_pause_lasts_until_what_is_used_up_is_there_again(services):
    worker = Worker(services)
    worker.refused(worker.reserve(), rate_limits=says(requests=Allowance(600, 0, 40.0), tokens=Allowance(600, 9, 90.0)))
    assert 35 < worker.wait() <= 40


@pytest.mark.parametrize("asked", [float("inf"), 1e12])
def test_no_header_stops_embedding_for_good(services, asked):
    worker = Worker(services)
    worker.refused(worker.reserve(), retry_after=asked)
    assert MAX_PAUSE - 10 < worker.wait() <= MAX_PAUSE


def test_a_refusal_that_says_no_limits_takes_none_back(services):
    worker = Worker(services)
    worker.answered(worker.reserve(), state=says(requests=Allowance(6, 6)))
    worker.refused(worker.reserve())
    assert worker.control.hget(worker.key, "limit_requests") == b"6"


@pytest.mark.parametrize("error", [NetworkError("down"), EmbeddingError("no"), QuotaExceededError("used up")])
def test_other_failures_teach_nothing(services, error):
    worker = Worker(services, requests=6)
    assert worker.rate_limiter.after_failure(worker.reserve(), error) == []


# Beside the circuit breaker.


def test_a_provider_that_is_left_alone_costs_no_allowance_and_its_probe_needs_none(services):
    worker = Worker(services, requests=6)
    worker.reserve()
    spent = worker.moment("requests")
    settings = services.settings.model_copy(update={"breaker_failures": 1, "breaker_pause": 60.0})
    breaker = CircuitBreaker(services.keys, settings, "openai")
    scripts.run(services.control, [breaker.report(NetworkError("down"))])
    assert worker.reserve().tokens is None
    services.control.hset(services.keys.breaker("openai"), "until", 1)
    admission = AdmissionControl(services.control, breaker, worker.rate_limiter).admit(10, LONGEST_WAIT)
    assert admission.had_failures
    assert worker.moment("requests") == spent


# The whole way.


def counted(monkeypatch, services) -> list[int]:
    """Lengths of the round trips the embedding makes to the control plane."""
    trips: list[int] = []
    real = scripts.run

    def run(connection, commands, **more):
        if commands:
            trips.append(len(commands))
        return real(connection, commands, **more)

    monkeypatch.setattr(scripts, "run", run)
    return trips


def test_an_unlimited_provider_costs_one_round_trip_a_request(services, monkeypatch):
    trips = counted(monkeypatch, services)
    for number in range(3):
        services.embedding.embed([f"text {number}"])
    assert trips == [2, 2, 2]


def test_limits_cost_at_most_one_round_trip_more(services, openai_server, monkeypatch):
    monkeypatch.setattr(openai_server, "rate_limits", RateLimits(requests=6_000, tokens=6_000_000))
    trips = counted(monkeypatch, services)
    for number in range(3):
        services.embedding.embed([f"text {number}"])
    openai_server.faults.add(Fault("rate_limit", times=1, retry_after=30))
    services.embedding.embed(["refused"])
    assert trips == [2, 1, 2, 1, 2, 1, 2, 2]


def test_requests_alone_cost_nothing_more_once_they_are_known(services, openai_server, monkeypatch):
    monkeypatch.setattr(RateLimits, "spend", lambda *_: {"x-ratelimit-limit-requests": "6000"})
    monkeypatch.setattr(openai_server, "rate_limits", RateLimits())
    trips = counted(monkeypatch, services)
    for number in range(3):
        services.embedding.embed([f"text {number}"])
    assert trips == [2, 1, 2, 2]


def test_a_batch_is_split_to_what_the_rate_limit_lets_through(services, openai_server, monkeypatch):
    worker = Worker(services, requests=10, tokens=60)
    monkeypatch.setattr(
        services.embedding.requests,
        "_admission",
        AdmissionControl(services.control, _breaker(services), worker.rate_limiter),
    )
    found = services.embedding.embed([f"no {number}" for number in range(5)])
    (request,) = openai_server.requests  # whichever came first
    assert request.inputs in (["no 0", "no 1"], ["no 2", "no 3"], ["no 4"])
    assert {text for text, vector in found.items() if isinstance(vector, bytes)} == set(request.inputs)
    assert {type(found[text]) for text in found if text not in request.inputs} == {ThrottledError}


def _breaker(services: Services) -> CircuitBreaker:
    return CircuitBreaker(services.keys, services.settings, "openai")


def test_jobs_beyond_the_rate_limit_wait_and_spend_no_attempts(services, client, openai_server, monkeypatch):
    memory_id = added(services, client)
    worker = Worker(services, requests=1)
    monkeypatch.setattr(
        services.embedding.requests,
        "_admission",
        AdmissionControl(services.control, _breaker(services), worker.rate_limiter),
    )
    first = client.update(memory_id, "first")
    drain(services, first)
    assert first.status() == "succeeded"
    openai_server.clear_requests()
    job = client.update(memory_id, "second")
    drain(services, job)
    for _ in range(services.settings.max_attempts + 1):
        due = services.control.zscore(services.keys.delayed, f"{shard_of_job(services, job)}:{job.id}")
        seconds, _ = services.control.time()
        assert due > (seconds + 30) * 1_000, "it comes back when its turn comes"
        _come_back(services, job)
    info = job.info()
    assert (info.status, info.attempts, info.error["code"]) == ("retrying", 0, "THROTTLED")
    assert openai_server.requests == []
    other = client.update(memory_id, metadata={"needs": "no provider"})
    drain(services, other)
    assert other.status() == "succeeded"
    worker.time_passes(60)
    _come_back(services, job)
    assert job.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "second"


def test_a_job_that_is_refused_makes_the_others_wait_and_they_spend_no_attempts(services, client, openai_server):
    memories = [added(services, client, text) for text in ("one", "two")]
    openai_server.clear_requests()
    openai_server.faults.add(Fault("rate_limit", times=1, retry_after=40))
    refused = client.update(memories[0], "new one")
    drain(services, refused)
    paused = client.update(memories[1], "new two")
    drain(services, paused)
    assert len(openai_server.requests) == 1
    infos = [job.info() for job in (refused, paused)]
    assert [(info.status, info.attempts, info.error["code"]) for info in infos] == [
        ("retrying", 1, "RATE_LIMIT"),
        ("retrying", 0, "THROTTLED"),
    ]
    Worker(services).time_passes(40)
    for job in (refused, paused):
        _come_back(services, job)
        assert job.wait(1).status == "succeeded"


def _come_back(services: Services, job) -> None:
    services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
    Sweeper(services).sweep()
    drain(services, job)
