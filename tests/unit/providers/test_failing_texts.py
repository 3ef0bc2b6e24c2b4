"""The search for texts that fail alone: it finds each, costs little, and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import EmbeddingError, NetworkError, ThrottledError
from emendo_workers.providers.failing_texts import MOST_REQUESTS, Search

TIMEOUT = NetworkError("late", error_code="PROVIDER_TIMEOUT")
FAILURES = [EmbeddingError("no"), NetworkError("500", error_code="PROVIDER_FAILING"), TIMEOUT]


class Provider:
    """Fails for a request that has one of these texts, or more than `most`; answers harmless ones unless it is down."""

    def __init__(self, refused=(), error=FAILURES[0], most=10_000) -> None:
        self.refused, self.error, self.most = set(refused), error, most
        self.requests = self.checked = 0
        self.is_down_from = 10_000

    def __call__(self, texts):
        self.requests += 1
        fails = self.refused & set(texts) or len(texts) > self.most or self.requests > self.is_down_from
        return self.error if fails else dict.fromkeys(texts, b"vector")

    def check(self, error):
        self.checked += 1
        return NetworkError("down") if self.requests >= self.is_down_from else None


def find(texts, provider, **more):
    return Search(provider, provider.check).run(texts, provider.error, **more)


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


@pytest.mark.parametrize("error", FAILURES, ids=str)
@pytest.mark.parametrize("place", range(0, 256, 15))
def test_one_among_many_costs_two_requests_a_halving(place, error):
    every = texts(256)
    provider = Provider([every[place]], error)
    found = find(every, provider)
    assert [text for text in every if isinstance(found[text], type(error))] == [every[place]]
    assert all(isinstance(found[text], bytes) for text in every if text != every[place])
    assert (provider.requests <= 16, provider.checked <= 2) == (True, True)


@pytest.mark.parametrize("error", FAILURES, ids=str)
@pytest.mark.parametrize("is_checked", [True, False])
def test_a_provider_that_fails_as_a_whole_is_not_asked_for_each_half(error, is_checked):
    provider = Provider(texts(256), error)
    provider.is_down_from = 0
    found = find(texts(256), provider, is_checked=is_checked and error is not FAILURES[0])
    assert {str(answer) for answer in found.values()} == {"down"}
    assert (len(found), provider.requests <= 4, provider.checked) == (256, True, 1)


@pytest.mark.parametrize("after", range(8))
def test_a_provider_that_goes_down_meanwhile_is_soon_left_alone(after):
    provider = Provider([texts(64)[0]], FAILURES[1])
    provider.is_down_from = after
    find(texts(64), provider, is_checked=True)
    assert provider.requests <= after + 4


@pytest.mark.parametrize("most", [1, 3, 16, 33, 63])
def test_texts_that_are_too_many_for_the_time_are_all_embedded_in_smaller_requests(most):
    provider = Provider(error=TIMEOUT, most=most)
    found = find(texts(64), provider, is_checked=True)
    assert [text for text, answer in found.items() if isinstance(answer, EmbeddingError | NetworkError)] == []
    assert provider.requests <= 64
    if most > 1:
        assert len(found) == 64
        assert provider.requests <= 2 * 64 // (most // 2 + 1) + 6


def test_a_search_ends_in_time_and_what_it_leaves_costs_no_attempt():
    provider = Provider(texts(8), TIMEOUT)
    found = Search(provider, provider.check, until=0.0).run(texts(8), TIMEOUT, is_checked=True)
    assert {type(answer) for answer in found.values()} == {ThrottledError}
    assert provider.requests == 0


@pytest.mark.parametrize("count", [2, 7, 48])
def test_when_all_are_refused_it_is_about_one_request_for_each(count):
    provider = Provider(texts(count))
    found = find(texts(count), provider)
    assert all(isinstance(error, EmbeddingError) for error in found.values())
    assert (found.keys(), provider.requests <= count + 12) == (set(texts(count)), True)


def test_a_search_is_bounded_and_what_it_leaves_is_decided_by_the_next_ones():
    waiting, searches = texts(300), 0
    provider = Provider(waiting[::2])
    decided = {}
    while len(waiting) > 1:
        before = provider.requests
        found = find(waiting, provider)
        assert provider.requests - before <= MOST_REQUESTS
        decided |= {text: answer for text, answer in found.items() if not isinstance(answer, ThrottledError)}
        waiting = [text for text in waiting if text not in decided]
        searches += 1
        assert searches < 30
    for text, answer in decided.items():
        assert isinstance(answer, EmbeddingError if text in provider.refused else bytes)


@given(st.sets(st.integers(0, 39), min_size=1))
def test_whichever_are_refused_no_other_fails(places):
    every = texts(40)
    provider = Provider(every[place] for place in places)
    found = find(every, provider)
    for text in every:
        assert isinstance(found[text], ThrottledError | (EmbeddingError if text in provider.refused else bytes))


def test_a_provider_that_goes_away_meanwhile_refuses_nothing():
    away = NetworkError("away", details={"cause": "ConnectError"})
    provider = Provider(texts(8), away)
    found = find(texts(8), provider)
    assert (provider.requests, provider.checked) == (1, 0)
    assert all(isinstance(answer, NetworkError) for answer in found.values())
