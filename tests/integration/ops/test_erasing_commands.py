"""`emendo delete --hard` and `emendo purge`: what cannot be undone is asked for twice."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import click
import pytest

from emendo_client.errors import JobTimeoutError, MemoryNotFoundError
from emendo_ops.console.progress import follow
from emendo_ops.console.time_options import time_or_age
from tests.support.patience import PATIENCE


@pytest.fixture
def project(emendo_client, emendo_worker):
    """The settings of this test's client, its project included."""
    return emendo_worker.model_copy(update={"project": emendo_client.project})


def added(client) -> str:
    return client.add("I dislike seafood.", user_id="ana", infer=False).wait(raise_on_failure=True).results[0].memory_id


def is_erased(client, memory_id) -> bool:
    return client.diagnose(memory_id).erased


def answer(monkeypatch, said: bool) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: said)


def test_a_hard_delete_erases(cli, project, emendo_client):
    memory_id = added(emendo_client)
    code, out, _ = cli(project, "delete", memory_id, "--hard", "--yes", "--json")
    assert (code, json.loads(out)["status"]) == (0, "succeeded")
    assert is_erased(emendo_client, memory_id)
    code, _, err = cli(project, "get", memory_id)
    assert (code, "MemoryNotFound" in err or "no such memory" in err) == (1, True)


@pytest.mark.parametrize("words", [("delete", "m", "--hard"), ("purge", "--deleted-before", "0s")], ids=" ".join)
def test_nothing_is_erased_when_nobody_can_be_asked(cli, project, emendo_client, monkeypatch, words):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, err = cli(project, *words)
    assert (code, "--yes" in err) == (2, True)
    assert emendo_client.jobs() == []


def test_a_no_erases_nothing_and_a_yes_does(cli, project, emendo_client, monkeypatch):
    memory_id = added(emendo_client)
    answer(monkeypatch, False)
    code, _, err = cli(project, "delete", memory_id, "--hard")
    assert (code, "nothing was erased" in err) == (1, True)
    assert emendo_client.get(memory_id).version == 1
    answer(monkeypatch, True)
    assert cli(project, "delete", memory_id, "--hard")[0] == 0
    with pytest.raises(MemoryNotFoundError):
        emendo_client.get(memory_id, include_deleted=True)


def test_a_purge_says_what_it_erased(cli, project, emendo_client):
    gone, kept = added(emendo_client), added(emendo_client)
    emendo_client.delete(gone).wait(raise_on_failure=True)
    words = ("purge", "--deleted-before", (datetime.now(UTC) + timedelta(seconds=1)).isoformat(), "--yes")
    code, out, _ = cli(project, *words, "--json")
    told = json.loads(out)
    assert (code, told["status"]) == (0, "succeeded")
    assert (told["memories"], told["erased"], told["failed"]) == (1, 1, 0)
    assert is_erased(emendo_client, gone)
    assert emendo_client.get(kept).version == 1
    code, out, _ = cli(project, *words, "--json")
    assert (code, json.loads(out)) == (0, {"job_id": None, "status": None, "memories": 0, "erased": 0, "failed": 0})
    assert cli(project, *words)[1] == "nothing to erase\n"


def test_a_purge_reads_ages_and_needs_no_one_to_wait(cli, project, emendo_client):
    gone = added(emendo_client)
    emendo_client.delete(gone).wait(raise_on_failure=True)
    code, out, _ = cli(project, "purge", "--deleted-before", "30d", "--yes")
    assert (code, out) == (0, "nothing to erase\n")
    code, out, _ = cli(project, "purge", "--deleted-before", "0s", "--yes", "--no-wait")
    assert (code, out.startswith("accepted: job ")) == (0, True)
    emendo_client.job(emendo_client.jobs(limit=1)[0].job_id).wait(PATIENCE)
    assert is_erased(emendo_client, gone)
    code, out, _ = cli(project, "purge", "--deleted-before", "0s", "--yes")
    assert out == "nothing to erase\n"


@pytest.mark.parametrize("words", ["soon", "30", "d", "-3d", "30y", "2030-01-01T00:00:00", "999999999w", ""])
def test_a_moment_that_is_none_is_wrong_usage(cli, project, words):
    code, _, err = cli(project, "purge", "--deleted-before", words, "--yes")
    assert (code, "--deleted-before" in err) == (2, True)


def test_times_and_ages_are_moments():
    assert time_or_age(None, None, "2030-01-31T12:00:00+01:00") == datetime(2030, 1, 31, 11, tzinfo=UTC)
    assert time_or_age(None, None, "2030-01-31T12:00Z") == datetime(2030, 1, 31, 12, tzinfo=UTC)
    for word, age in {"90s": 90, "5m": 300, "12h": 43_200, "30d": 2_592_000, "2w": 1_209_600}.items():
        assert abs((datetime.now(UTC) - time_or_age(None, None, word)).total_seconds() - age) < 60


def test_following_a_job_nobody_works_ends_in_time(client):
    job = client.batch_delete([{"memory_id": "m"}])
    with pytest.raises(JobTimeoutError, match="still queued"):
        follow(job, 0.3, quiet=True)


def test_the_progress_bar_is_for_terminals(emendo_client, monkeypatch, capsys):
    job = emendo_client.batch_add([{"messages": "x", "user_id": "ana"}], infer=False)
    assert follow(job, 20, quiet=False).status == "succeeded"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert follow(job, 20, quiet=False).status == "succeeded"
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert follow(job, 20, quiet=False).status == "succeeded"
    out, err = capsys.readouterr()
    assert (out, "\x1b[" in err) == ("", True), "a bar is drawn, and taken away in the end"
