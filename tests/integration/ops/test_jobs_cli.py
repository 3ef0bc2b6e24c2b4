"""`emendo jobs`, and what the commands that wait for a job say when it fails or is not waited for."""

from __future__ import annotations

import json

import pytest

from emendo_client import Job
from emendo_client.errors import JobTimeoutError
from emendo_client.testing import Fault
from tests.support.inferring import told, with_chat
from tests.support.intake import added, drain


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


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
    assert "VERSION_MISMATCH: read the memory again, then decide on its current version" in out.splitlines()


@pytest.fixture
def jobs(cli, client):
    """Runs `emendo jobs …`: exit code, output, errors."""
    return lambda *words: cli(client.settings, "jobs", *words)


def test_nothing_in_the_list_is_broken_at_80_columns(services, client, jobs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert jobs() == (0, "no jobs\n", "")
    added(services, client)
    (good,) = client.jobs()
    bad = client.update("missing", "a private text")
    drain(services, bad)
    batch = client.batch_update([{"memory_id": "m", "text": "t"}])
    code, out, _ = jobs()
    lines = out.splitlines()
    assert code == 0
    assert lines[::2] == [
        f"{batch.id}  {batch.info().kind} queued",
        f"{bad.id}  update failed",
        f"{good.job_id}  add succeeded",
    ]
    told = f"  1 attempt, submitted {bad.info().submitted_at:%m-%d %H:%M} UTC; MEMORY_NOT_FOUND"
    assert lines[3] == f"{told}, no such memory in this project"
    assert max(map(len, [*lines[::2], told])) <= 80, "a terminal breaks the free text alone"
    assert [job["job_id"] for job in json.loads(jobs("--status", "failed", "--json")[1])] == [bad.id]


def test_a_job_is_shown_with_its_error_and_without_memory_text(services, client, jobs):
    memory_id = added(services, client, "a private text")
    (good,) = client.jobs()
    bad = client.update(memory_id, "another private text", expected_version=9)
    drain(services, bad)
    code, out, _ = jobs("show", good.job_id)
    assert (code, out.splitlines()[-1]) == (0, f"memory {memory_id}: ADD, version 1")
    assert not {"done", "chunks"} & set(out.split())
    code, out, _ = jobs("show", bad.id)
    assert (code, "failed" in out, "attempts" in out, "submitted_at" in out) == (0, True, True, True)
    *_, error, became = out.splitlines()
    assert (
        json.loads(error.removeprefix("error: "))["suggestion"]
        == "read the memory again, then decide on its current version"
    )
    assert became == f"memory {memory_id}: VERSION_MISMATCH, the memory has version 1, not 9"
    assert "private" not in out
    code, out, _ = jobs("show", bad.id, "--json")
    assert (code, json.loads(out)["error"]["code"], "private" in out) == (0, "VERSION_MISMATCH", False)


def test_a_batch_job_says_where_its_results_are(client, jobs):
    batch = client.batch_update([{"memory_id": "m", "text": "t"}])
    code, out, _ = jobs("show", batch.id)
    assert (code, f"emendo jobs show {batch.id}:0, and so on" in out, "chunks" in out) == (0, True, True)
    assert jobs("show", f"{batch.id}:0")[0] == 0


def test_a_job_that_is_none_is_not_shown(jobs):
    code, _, err = jobs("show", "no-such-job", "--json")
    assert (code, json.loads(err)["code"]) == (1, "JOB_NOT_FOUND")


def test_a_dry_run_is_shown_without_memory_text(services, client, jobs, model):
    job_id = told(services, client, "I sing", dry_run=True).job_id
    code, out, _ = jobs("show", job_id)
    assert (code, out.splitlines()[-1].endswith(": decided ADD, changed nothing"), "sing" in out) == (0, True, False)
