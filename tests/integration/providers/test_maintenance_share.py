"""Re-embedding may use a share of the provider's limits, and leaves room for what people wait for."""

from __future__ import annotations

import secrets
import time

import pytest

from emendo_client.errors import ThrottledError
from emendo_client.providers.embeddings import Embeddings
from emendo_config.store import scripts
from emendo_workers.providers.rate_limiter import BURST, RateLimiter, Reservation
from emendo_workers.services import Services

# A minute of the provider's: so slow that what the test itself takes does not count.
REQUESTS, TOKENS = 600, 6_000
STEP = 0.1
FIELDS = ("requests", "tokens", "shared_requests", "shared_tokens")


class Caller:
    """One class of callers, who never wait: they go at once or not at all."""

    def __init__(self, services: Services, share: float = 1.0, tokens: int | None = None) -> None:
        limits = {"embedding_requests_per_minute": REQUESTS, "embedding_tokens_per_minute": tokens}
        self.services = services
        self.rate_limiter = RateLimiter(services.keys, services.settings.model_copy(update=limits), "openai", share)

    def reserve(self, tokens: int = 1) -> Reservation | None:
        call = secrets.token_hex(8)
        (reply,) = scripts.run(self.services.control, [self.rate_limiter.reserve(call, tokens, 0.0)])
        try:
            return self.rate_limiter.read_reservation(call, tokens, 0.0, reply)
        except ThrottledError:
            return None

    def answered(self, reservation: Reservation, used: int) -> None:
        scripts.run(self.services.control, self.rate_limiter.after_answer(reservation, Embeddings([], used)))


def time_passes(services: Services, seconds: float) -> None:
    key = services.keys.rate_limit("openai")
    for name, value in zip(FIELDS, services.control.hmget(key, FIELDS), strict=True):
        if value is not None:
            services.control.hset(key, name, f"{float(value) - seconds * 1000:.4f}")


def all_it_can(caller: Caller, tokens: int = 1) -> int:
    """Calls that go at this moment."""
    count = 0
    while caller.reserve(tokens) is not None:
        count += 1
    return count


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_alone_it_takes_its_share_and_no_more(services, share):
    background = Caller(services, share)
    rate, seconds = share * REQUESTS / 60, 30.0
    began, went = time.monotonic(), all_it_can(background)
    for _ in range(int(seconds / STEP)):
        time_passes(services, STEP)
        went += all_it_can(background)
    took = time.monotonic() - began  # passed, too: seconds, on a machine that has others to serve
    assert 0.9 * rate * seconds <= went <= rate * (seconds + took) + BURST * REQUESTS / 60 + 1


def test_a_share_of_all_is_as_everybody_else(services):
    background, others = Caller(services, 1.0), Caller(services)
    assert all_it_can(background) == pytest.approx(BURST * REQUESTS / 60, abs=2)
    assert others.reserve() is None
    assert services.control.hget(services.keys.rate_limit("openai"), "shared_requests") is None


@pytest.mark.parametrize("tokens", [None, TOKENS])
def test_who_waits_for_an_answer_finds_room_at_once_however_much_is_re_embedded(services, tokens):
    background, interactive = Caller(services, 0.5, tokens), Caller(services, 1.0, tokens)
    largest = min(background.rate_limiter.largest_request, 1_000)
    for _ in range(200):
        all_it_can(background, largest)
        assert interactive.reserve() is not None
        time_passes(services, 2 * STEP)


def test_it_takes_what_the_others_leave_and_nothing_when_they_leave_none(services):
    background, interactive = Caller(services, 0.5), Caller(services)
    all_it_can(interactive)
    for _ in range(100):
        time_passes(services, STEP)
        all_it_can(interactive)
        assert background.reserve() is None
    # A little that is there is for them, until their share of the bucket is full again.
    time_passes(services, 5 * STEP)
    assert background.reserve() is None
    assert interactive.reserve() is not None
    time_passes(services, BURST)
    assert background.reserve() is not None


def test_what_was_reserved_too_much_is_given_back_to_its_share(services):
    background = Caller(services, 0.5, TOKENS)
    key = services.keys.rate_limit("openai")
    reservation = background.reserve(100)
    before = float(services.control.hget(key, "shared_tokens"))
    background.answered(reservation, used=40)
    token_ms = 60_000 / TOKENS / 0.5
    assert float(services.control.hget(key, "shared_tokens")) == pytest.approx(before - 60 * token_ms, abs=0.01)


def test_a_text_larger_than_the_bucket_is_embedded_all_the_same(services):
    assert Caller(services, 0.5, TOKENS).reserve(10 * TOKENS) is not None


def test_a_re_embedding_is_paced_by_its_share_and_what_people_wait_for_is_not(services):
    controls = [pipelines._admission("openai") for pipelines in (services.background_pipelines, services.pipelines)]
    assert [control._rate_limiter._share for control in controls] == [services.settings.maintenance_share, 1.0]
