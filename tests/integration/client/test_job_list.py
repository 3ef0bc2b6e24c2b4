"""Listing jobs while others submit some: the pages move under who reads them."""

from __future__ import annotations

import pytest

from emendo_client import AsyncMemoryClient
from emendo_client.exchanges import jobs


@pytest.fixture
def submitted(client, monkeypatch) -> list[str]:
    """Jobs, newest first; at each of the first pages that somebody reads of them, another job is submitted."""
    monkeypatch.setattr(jobs, "_JOBS_AT_A_TIME", 2)
    job_ids = [client.update(f"m{number}", "text").id for number in range(7)]
    real, later = jobs.RoundTrip, iter(["a", "b", "c"])

    def batch(plane, commands):
        memory_id = next(later, None) if commands and commands[0][0] == "HMGET" else None
        if memory_id is not None:
            client.update(memory_id, "text")
        return real(plane, commands)

    monkeypatch.setattr(jobs, "RoundTrip", batch)
    return job_ids[::-1]


def test_a_job_is_listed_once_while_others_are_submitted(client, submitted):
    assert [info.job_id for info in client.jobs(limit=100)] == submitted


async def test_the_async_client_lists_it_once_too(settings, submitted):
    async with AsyncMemoryClient(settings) as other:
        assert [info.job_id for info in await other.jobs(limit=100)] == submitted


def test_the_limit_counts_jobs_not_their_repetitions(client, submitted):
    assert [info.job_id for info in client.jobs(status="queued", limit=5)] == submitted[:5]


def test_a_page_of_nothing_new_is_read_past(client, submitted, monkeypatch):
    """As many submissions between two pages as a page holds."""
    batch, more = jobs.RoundTrip, iter([True])

    def two_at_once(plane, commands):
        if commands and commands[0][0] == "HMGET" and next(more, False):
            client.update("d", "text")
        return batch(plane, commands)

    monkeypatch.setattr(jobs, "RoundTrip", two_at_once)
    assert [info.job_id for info in client.jobs(limit=100)] == submitted
