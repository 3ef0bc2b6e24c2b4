"""`emendo dead`: what operators type, with its exit codes, its JSON, and its question before anything is lost."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from emendo_ops.console import progress
from emendo_ops.console.progress import progress_bar
from tests.support.intake import added, drain


@pytest.fixture
def letters(services, client, refusals_are_kept) -> dict[str, str]:
    """Two dead letters by name: an update of a memory that is not there, and a delete of a version that is not."""
    memory_id = added(services, client)
    jobs = {
        "update": client.update("missing", "a private text"),
        "delete": client.delete(memory_id, expected_version=9),
    }
    for job in jobs.values():
        drain(services, job)
    return {name: job.id for name, job in jobs.items()}


@pytest.fixture
def dead(cli, emendo_settings):
    """Runs `emendo dead …`: exit code, output, errors."""
    return lambda *words: cli(emendo_settings, "dead", *words)


def listed(dead, *words) -> list[str]:
    code, out, err = dead(*words, "--json")
    assert code == 0, err
    return [letter["job_id"] for letter in json.loads(out)]


@pytest.mark.parametrize("words", [(), ("list",)])
def test_dead_lists_and_filters(dead, letters, words):
    assert listed(dead, *words) == [letters["delete"], letters["update"]]
    assert listed(dead, *words, "--limit", "1") == [letters["delete"]]
    assert listed(dead, *words, "--kind", "update") == [letters["update"]]
    assert listed(dead, *words, "--error", "VERSION_MISMATCH") == [letters["delete"]]
    assert listed(dead, *words, "--memory", "missing") == [letters["update"]]
    assert listed(dead, *words, "--before", "2020-01-01T00:00Z") == []
    code, out, _ = dead(*words)
    assert code == 0
    assert letters["update"] in out
    assert "private" not in out


def test_nothing_in_the_list_is_broken_at_80_columns(dead, client, letters, monkeypatch):
    assert dead("--kind", "none") == (0, "no dead letters\n", "")
    monkeypatch.setenv("COLUMNS", "80")
    lines = dead()[1].splitlines()
    assert lines[::2] == [
        f"{letters['delete']}  delete VERSION_MISMATCH",
        f"{letters['update']}  update MEMORY_NOT_FOUND",
    ]
    last = f"{client.dead_letter(letters['delete']).last_attempt_at:%m-%d %H:%M}"
    assert lines[1] == f"  1 attempt, the last {last} UTC; the memory has version 1, not 9"
    assert max(map(len, lines)) <= 80


def test_show_says_what_the_dead_letter_asked_for(dead, letters):
    code, out, _ = dead("show", letters["update"])
    assert code == 0
    assert "a private text" in out
    assert "MEMORY_NOT_FOUND" in out
    code, out, _ = dead("show", letters["update"], "--json")
    assert (code, json.loads(out)["payload"][0]["text"]) == (0, "a private text")
    code, _, err = dead("show", "no-such-job", "--json")
    assert (code, json.loads(err)["code"]) == (1, "JOB_NOT_FOUND")


@pytest.mark.parametrize(
    ("words", "replayed"), [(("--all",), 2), (("--kind", "update"), 1), (("--error", "NO_SUCH_CODE"), 0)]
)
def test_replay_takes_all_or_those_that_match(dead, letters, words, replayed):
    code, out, err = dead("replay", *words, "--json")
    assert (code, json.loads(out), err) == (0, {"replayed": replayed}, "")
    assert len(listed(dead)) == 2 - replayed


def test_replay_takes_one_and_says_when_it_is_none(dead, letters):
    code, out, _ = dead("replay", letters["update"])
    assert (code, letters["update"] in out) == (0, True)
    code, _, err = dead("replay", letters["update"], "--json")
    assert (code, json.loads(err)["code"]) == (1, "JOB_NOT_DEAD")
    code, out, _ = dead("replay", "--all")
    assert (code, out.strip()) == (0, "queued again: 1 job")


@pytest.mark.parametrize("verb", ["list", "replay", "discard"])
def test_times_are_typed_as_for_purge(dead, letters, verb):
    for option in ("--before", "--after"):
        code, _, err = dead(verb, option, "2026-01-01")
        assert code == 2
        assert f"'{option}': it has no time zone; give a time such as 2026-01-31T12:00Z, or an age: 30d" in err
    assert len(listed(dead)) == 2


def test_an_age_is_a_time(dead, letters):
    assert len(listed(dead, "--after", "1h")) == 2
    assert listed(dead, "--before", "1h") == listed(dead, "--after", "0s") == []


def test_what_the_doctor_advises_can_be_typed(cli, dead, emendo_settings, letters):
    findings = json.loads(cli(emendo_settings, "doctor", "--json")[1])
    (remedy,) = [finding["mend"] for finding in findings if finding["check"] == "dead letters"]
    assert remedy == "emendo dead lists them; emendo dead replay --all tries them again"
    code, out, _ = dead("replay", "--all")
    assert (code, out) == (0, "queued again: 2 jobs\n")


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize(
    "words", [(), ("a-job", "--all"), ("--all", "--kind", "update"), ("a-job", "--error", "X"), ("--no-such-option",)]
)
def test_an_unclear_choice_is_wrong_usage_and_touches_nothing(dead, letters, verb, words):
    code, _, err = dead(verb, *words)
    assert (code, "Usage:" in err) == (2, True)
    assert len(listed(dead)) == 2


def test_options_before_the_verb_are_refused_instead_of_ignored(dead, letters):
    assert dead("--kind", "update", "replay", "--all")[0] == 2
    assert len(listed(dead)) == 2


def test_discarding_many_wants_a_yes_where_nobody_can_be_asked(dead, letters, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = dead("discard", "--all")
    assert (code, "--yes" in err) == (2, True)
    assert len(listed(dead)) == 2
    code, out, _ = dead("discard", "--kind", "update", "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"discarded": 1})
    assert listed(dead) == [letters["delete"]]
    assert dead("discard", letters["delete"])[0] == 0
    assert listed(dead) == []


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_discarding_all_asks_a_person_first(dead, letters, monkeypatch, answer, code):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    got, out, err = dead("discard", "--all", "--json")
    assert (got, "every dead letter" in err) == (code, True)
    assert out == "" if code else json.loads(out) == {"discarded": 2}
    assert len(listed(dead)) == 2 * code


def test_progress_is_drawn_on_a_terminal_only_and_never_in_what_programs_read(monkeypatch):
    def drawn(*, terminal: bool, quiet: bool) -> str:
        written = io.StringIO()
        monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=written, force_terminal=True, width=100))
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
        with progress_bar("replaying", quiet=quiet) as advance:
            advance(3, 7)
        return written.getvalue()

    assert "3/7" in drawn(terminal=True, quiet=False)
    assert drawn(terminal=True, quiet=True) == drawn(terminal=False, quiet=False) == ""
