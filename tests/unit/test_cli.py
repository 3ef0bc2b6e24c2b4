"""The command line's frame: its table of commands, exit codes, and printing what people wrote."""

from __future__ import annotations

import re

import click
import pytest

from emendo_client import cli
from emendo_client.cli import run
from emendo_client.cli.doctor import _embedder
from emendo_client.cli.output import print_table
from emendo_client.local import stack
from emendo_client.local.stack import Addresses, write_ready_file
from emendo_client.local.supervisor import Supervisor
from emendo_config import ConfigurationError, Settings


@pytest.mark.parametrize("name", sorted(cli._COMMANDS))
def test_every_row_of_the_table_is_a_command_with_help(name, capsys):
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert command.name == name
    assert run([name, "--help"]) == 0
    assert f"emendo {name}" in capsys.readouterr().out


def test_an_interruption_is_130(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", interrupted)
    assert run(["jobs"]) == 130


def test_a_wrong_setting_is_a_failure_and_json_when_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("EMENDO_LEASE", "soon")
    assert run(["jobs"]) == 1
    assert re.match(r"Error: invalid settings: EMENDO_LEASE", capsys.readouterr().err)
    assert run(["jobs", "--json"]) == 1
    assert '"code": "CONFIGURATION"' in capsys.readouterr().err


@pytest.mark.parametrize("text", ["keep [red] this", "closing [/tag]", "[link=x]y[/link]", "a\\[b]"])
def test_a_table_shows_a_memory_as_it_was_written(text, capsys):
    print_table("title", ("text",), [(text,)])
    assert text in capsys.readouterr().out


def test_the_doctor_says_where_the_key_came_from_and_never_the_key(monkeypatch):
    for name in ("EMENDO_EMBEDDING_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "key" not in _embedder(Settings(embedding_provider="local")).found
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    assert "key from OPENAI_API_KEY" in _embedder(Settings()).found
    monkeypatch.setenv("EMENDO_EMBEDDING_API_KEY", "hush")
    found = _embedder(Settings()).found
    assert "key from EMENDO_EMBEDDING_API_KEY" in found
    assert "hush" not in found


def test_the_ready_file_is_its_owners_only_even_where_a_looser_one_was(tmp_path):
    path = tmp_path / "ready.json"
    for old in (path, path.with_name("ready.json.new")):
        old.write_text("old")
        old.chmod(0o644)
    write_ready_file(path, Addresses("r", "g", "f", "user", "password"), Supervisor([]))
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_ready_file_of_a_killed_run_is_gone_before_anything_starts(monkeypatch, tmp_path):
    stale = tmp_path / "ready.json"
    stale.write_text("{}")
    monkeypatch.setattr(stack, "prepare", lambda _: ([], Addresses("r", "g", "f", "user", "password")))
    monkeypatch.setattr(Supervisor, "handle_signals", lambda _: None)

    def start(_):
        assert not stale.exists()
        raise ConfigurationError("enough seen")

    monkeypatch.setattr(Supervisor, "start", start)
    assert run(["up", "--dir", str(tmp_path / "data"), "--ready-file", str(stale)]) == 1
