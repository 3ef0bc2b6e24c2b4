"""A job that is cancelled in time never changes anything."""

from __future__ import annotations

from emendo_client import MemoryClient


def test_a_job_that_no_worker_has_begun_is_cancelled(emendo_settings):
    with MemoryClient(emendo_settings) as client:  # no worker runs with these settings
        job = client.add("I like tea.", user_id="ana", infer=False)
        assert job.cancel() is True
        assert job.status() == "cancelled"


def test_a_job_that_is_done_is_too_late_to_cancel(emendo_client):
    job = emendo_client.add("I like tea.", user_id="ana", infer=False)
    job.wait()
    assert job.cancel() is False
    assert emendo_client.get_all(user_id="ana").total == 1
