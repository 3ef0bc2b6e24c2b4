"""`emendo jobs`, and what the commands that wait for a job say when it fails or is not waited for."""

from __future__ import annotations

import pytest
from intake import added, drain

from emendo_client import Job
from emendo_client.errors import JobTimeoutError
from emendo_client.testing import Fault


@pytest.mark.parametrize(
    "words",
    [
        ("add", "text", "--user", "ana", "--no-infer"),
        ("update", "m", "--text", "text"),
        ("purge", "--deleted-before", "2999-01-01T00:00Z", "--yes"),
    ],
)
def test_who_ends_a_wait_is_told_which_job_goes_on(cli, client, store, monkeypatch, words):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "wait", interrupted)
    code, out, err = cli(client.settings, *words)
    (newest,) = client.jobs(limit=1)
    assert (code, out, err) == (130, "", f"\njob {newest.job_id}: goes on\n")
    assert newest.status == "queued"


def test_a_wait_that_was_too_short_says_what_the_job_met(services, client, openai_server):
    job = client.update(added(services, client), "new text")
    openai_server.faults.add(Fault("server_error", times=1_000))
    drain(services, job)
    with pytest.raises(JobTimeoutError, match=f"the job {job.id} is still retrying after 0.1 s; .*PROVIDER_FAILING"):
        job.wait(0.1)


def test_what_to_do_about_an_error_stands_below_the_table(cli, emendo_worker, emendo_client):
    settings = emendo_worker.model_copy(update={"project": emendo_client.project})
    memory_id = emendo_client.add("base", "ana", infer=False).wait(raise_on_failure=True).results[0].memory_id
    code, out, _ = cli(settings, "update", memory_id, "--text", "new", "--expected-version", "9")
    assert code == 1
    assert "VERSION_MISMATCH: read the memory again and decide anew" in out.splitlines()
