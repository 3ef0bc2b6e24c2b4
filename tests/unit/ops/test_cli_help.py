"""The help of each command: its examples can be typed, each option is explained, and a slip gets a hint."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest

from emendo_ops.cli import app
from emendo_ops.cli.app import run
from emendo_ops.console import progress
from emendo_ops.console.examples import examples_of
from emendo_ops.console.output import print_table
from emendo_ops.console.progress import progress_bar
from tests.support.command_line import commands, parse

COMMANDS = {context.command_path: context for context in commands()}
EXAMPLES = [line for context in COMMANDS.values() for line in examples_of(context.command)]


def words_of(line: str) -> list[str]:
    """The words after `emendo`, up to a pipe or a redirection."""
    words = shlex.split(line, comments=True)
    words = words[words.index("emendo") + 1 :]
    ends = [place for place, word in enumerate(words) if word in ("|", ">")]
    return words[: min(ends, default=len(words))]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_examples_of_its_own_and_explains_each_option(path):
    command = COMMANDS[path].command
    lines = examples_of(command)
    assert lines, "help without an example"
    if not isinstance(command, click.Group):
        assert all(f"{path} " in f"{line} " or f"$({path} " in line for line in lines)
    unexplained = [each.name for each in command.params if isinstance(each, click.Option) and not each.help]
    assert unexplained == []


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_a_line_that_the_command_understands(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("chat.json", "backup.jsonl", "memories.json"):
        Path(name).write_text(json.dumps([{"role": "user", "content": "hello"}]), encoding="utf-8")
    if line.startswith("eval "):  # a shell's own command around ours
        line = line.removeprefix('eval "$(').removesuffix(')"')
    assert parse(app.cli, words_of(line)).command is not app.cli


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("serach x", "Did you mean 'search'?"),
        ("keys creat", "Did you mean 'create'?"),
        ("up --detatch", "Did you mean '--detach'?"),
        ("jobs --satus failed", "Did you mean '--status'?"),
    ],
)
def test_a_slip_gets_a_hint(words, hint, capsys):
    assert run(words.split()) == 2
    assert hint in capsys.readouterr().err


def test_a_wait_that_cannot_begin_is_wrong_usage_before_a_job_is_accepted(capsys):
    for seconds in ("nan", "inf", "-1"):
        assert run(["add", "x", "--user", "ana", "--timeout", seconds]) == 2
        assert "is no number of seconds from 0" in capsys.readouterr().err


# Terminals.


@pytest.mark.parametrize("width", ["0", "10", "60"])
def test_a_narrow_terminal_loses_no_cell(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    memory_id = "8ad592ee-9a1f-5868-b05d-134bdda525f2"
    print_table("2 found", ("score", "id", "version", "text"), [(0.5, memory_id, 1, "tea"), (0.4, "m2", 3, None)])
    said = capsys.readouterr().out
    if width == "60":
        assert [memory_id in said, "score" in said, "text" in said] == [True, True, True]
    else:
        rows = [f"score: 0.5\nid: {memory_id}\nversion: 1\ntext: tea", "score: 0.4\nid: m2\nversion: 3"]
        assert said == "\n\n".join(("2 found", *rows)) + "\n"


def test_where_no_bar_can_be_drawn_long_work_says_lines_with_the_time_left(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar("memories") as advance:
        for seconds, done in ((0, 1_000), (5, 1_500), (10, 2_000), (15, 2_500), (20, 3_000)):
            now[0] = 100.0 + seconds
            advance(done, 5_000)
    assert capsys.readouterr().err == (
        "memories: 2,000 of 5,000, about 0:00:30 left\nmemories: 3,000 of 5,000, about 0:00:20 left\n"
    )


def test_work_that_ends_soon_or_is_for_programs_says_nothing(capsys):
    for quiet in (False, True):
        with progress_bar("memories", quiet=quiet) as advance:
            advance(1, 2)
            advance(2, 2)
    assert capsys.readouterr() == ("", "")
