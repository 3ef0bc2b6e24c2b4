"""Housekeeping: it finds every project, one process does it at a time, and its absence shows."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from emendo_client import MemoryClient
from emendo_config import Keys
from emendo_ops.doctor.control_redis import check_jobs
from emendo_workers.maintenance import project_lists
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.intake import added


def a_week_later(services) -> float:
    return time.time() + services.settings.job_ttl + 604_800


def forgotten_job(services, client: MemoryClient) -> str:
    """A project's list names a job whose record is gone."""
    added(services, client)
    job_id = client.jobs()[0].job_id
    services.control.delete(services.keys.job(job_id))
    return job_id


@pytest.mark.parametrize("prefix", ["a*b:", "[ab]?:", "back\\slash:"])
def test_the_lists_below_any_prefix_are_kept_clean(services, prefix):
    keys = Keys(services.settings.key_prefix + prefix)
    store = replace(services.store, keys=keys)
    services.control.zadd(keys.jobs("default"), {"gone": 1})
    assert project_lists.find_projects(store) == 1
    assert project_lists.tidy_lists(store, 2)["removed"] == 1
    services.control.delete(keys.projects, keys.housekeeping)


def test_every_project_is_found_bit_by_bit_and_forgotten_with_its_last_list(services, client, monkeypatch):
    monkeypatch.setattr(project_lists, "SCAN_COUNT", 5)
    monkeypatch.setattr(project_lists, "SCANS_PER_SEARCH", 1)
    jobs = services.keys.jobs
    forgotten_job(services, client)
    services.control.zadd(jobs("another:one"), {"gone": 1})
    for number in range(100):
        services.control.set(services.keys.job(f"filler-{number}"), "", ex=600)
    keep_house(services.store, services.notifier, a_week_later(services))
    assert int(services.control.hget(services.keys.housekeeping, "cursor")) != 0, "no run looks at all keys"
    rounds = 0
    while services.control.zcard(jobs("default")) or services.control.zcard(jobs("another:one")):
        keep_house(services.store, services.notifier, a_week_later(services))
        rounds += 1
        assert rounds < services.control.dbsize()
    keep_house(services.store, services.notifier, a_week_later(services))
    assert not services.control.exists(services.keys.projects)


def test_one_process_at_a_time_keeps_house(services, client):
    forgotten_job(services, client)
    services.control.set(services.keys.housekeeper, "another process", px=60_000)
    assert keep_house(services.store, services.notifier, a_week_later(services)) == {}
    assert client.health().housekeeping_seconds is None
    services.control.delete(services.keys.housekeeper)
    assert keep_house(services.store, services.notifier, a_week_later(services))["removed"] == 1
    assert not services.control.exists(services.keys.housekeeper)


def test_a_beat_that_does_not_run_shows(services, client):
    def finding():
        return next(each for each in check_jobs(services.settings) if each.check == "housekeeping")

    assert (finding().state, finding().found) == ("warn", "never ended")
    keep_house(services.store, services.notifier, time.time())
    assert finding().state == "ok"
    assert client.health().housekeeping_seconds < 60
    services.control.hset(services.keys.housekeeping, "ended", str(int((time.time() - 3_600) * 1_000)))
    assert finding().state == "warn"
    assert client.health().housekeeping_seconds > 3_500
