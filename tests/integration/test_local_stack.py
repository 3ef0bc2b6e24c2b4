"""The embedded Redis, the command line and the gateway, as a new user meets them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis

from emendo_client.cli import run
from emendo_client.cli.processes import celery_command
from emendo_client.local import embedded_redis
from emendo_client.local.embedded_redis import EmbeddedRedis, ServerCommand, find_server
from emendo_client.testing.worker import environment
from emendo_config import ConfigurationError, Keys


def test_data_survives_a_kill_and_a_restart_on_the_same_port(tmp_path):
    server = EmbeddedRedis(tmp_path / "data", appendfsync="always")
    server.start()
    try:
        port = server.port
        with redis.Redis(port=port) as connection:
            connection.execute_command("FT.CREATE", "i", "PREFIX", 1, "m:", "SCHEMA", "t", "TAG")
            connection.hset("m:1", "t", "kept")
        server.kill()
        assert server.pid is None
        server.start()
        assert server.port == port
        with redis.Redis(port=port, protocol=2) as connection:
            assert connection.hget("m:1", "t") == b"kept"
            assert connection.execute_command("FT.SEARCH", "i", "@t:{kept}", "NOCONTENT") == [1, b"m:1"]
    finally:
        server.stop()


def test_a_taken_port_is_refused_by_number(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is taken"):
            EmbeddedRedis(tmp_path, port).start()


def test_a_server_without_search_is_passed_over_and_none_is_explained(monkeypatch, tmp_path):
    plain = tmp_path / "redis-server"
    plain.write_text(f'#!/bin/sh\nexec {find_server().argv[0]} "$@"\n')
    plain.chmod(0o755)
    candidates = [ServerCommand((str(plain),), "a plain one"), ServerCommand(("/nonexistent",), "a missing one")]
    monkeypatch.setattr(embedded_redis, "_candidates", lambda: candidates)
    with pytest.raises(ConfigurationError) as refused:
        find_server.__wrapped__()
    assert "a plain one: has no search module" in refused.value.message
    assert "a missing one: does not start" in refused.value.message
    assert "docker-compose.yml" in refused.value.suggestion


def test_a_memorys_life_on_the_command_line(cli, emendo_worker):
    def ok(*words):
        code, out, err = cli(emendo_worker, *words, "--json")
        assert code == 0, err
        return json.loads(out)

    added = ok("add", "I dislike seafood.", "--user", "cli", "--no-infer", "--metadata", '{"topic": "food"}')
    memory_id = added["results"][0]["memory_id"]
    assert ok("update", memory_id, "--text", "I enjoy seafood.")["results"][0]["version"] == 2
    assert ok("search", "seafood", "--user", "cli")[0]["memory"] == "I enjoy seafood."
    assert [entry["event"] for entry in ok("history", memory_id)] == ["ADD", "UPDATE"]
    assert ok("delete", memory_id)["status"] == "succeeded"
    assert ok("restore", memory_id, "--version", "1")["results"][0]["memory"] == "I dislike seafood."
    assert ok("get", memory_id)["metadata"] == {"topic": "food"}
    assert ok("jobs", "--limit", "1")[0]["kind"] == "restore"
    code, out, _ = cli(emendo_worker, "cancel", added["job_id"], "--json")
    assert (code, json.loads(out)["cancelled"]) == (1, False)
    code, out, _ = cli(emendo_worker, "update", "no-such-memory", "--text", "x", "--json")
    assert (code, json.loads(out)["status"]) == (1, "failed")
    dead = ok("dead")[0]["job_id"]
    assert cli(emendo_worker, "dead", "replay", dead)[0] == 0
    for words in (("get", memory_id), ("search", "fish", "--user", "cli"), ("history", memory_id), ("jobs",)):
        code, out, _ = cli(emendo_worker, *words)
        assert code == 0
        assert out.strip()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nonsense",), 2, "No such command"),
        (("add",), 2, "give either TEXT or --messages"),
        (("add", "x", "--user", "a", "--metadata", "{"), 2, "not JSON"),
        (("worker", "--queues", "typo"), 2, "unknown queues: typo"),
        (("add", "x"), 1, "no scope given"),
        (("get", "no-such-memory"), 1, "no such memory"),
        (("cancel", "no-such-job"), 1, "no such job"),
        (("flower",), 1, "EMENDO_FLOWER_PASSWORD"),
    ],
)
def test_mistakes_have_their_exit_codes_and_say_what_to_do(cli, emendo_worker, words, code, says):
    got, _, err = cli(emendo_worker, *words)
    assert (got, says in err) == (code, True), err


def test_errors_are_json_when_asked_for(cli, emendo_worker):
    code, _, err = cli(emendo_worker, "get", "no-such-memory", "--json")
    assert (code, json.loads(err)["code"]) == (1, "MEMORY_NOT_FOUND")


def test_the_doctor_finds_what_is_wrong(cli, emendo_worker, emendo_settings, monkeypatch):
    code, out, _ = cli(emendo_worker, "doctor", "--json")
    states = {finding["check"]: finding["state"] for finding in json.loads(out)}
    assert code == 0
    assert {"backlog", "circuit breaker", "dead letters"} <= states.keys()
    looked_at = {"redis", "search", "index", "persistence", "eviction", "workers", "broker", "embedder", "pace"}
    assert looked_at <= states.keys()
    assert "fail" not in states.values()
    monkeypatch.setenv("EMENDO_EMBEDING_MODEL", "x")
    _, out, _ = cli(emendo_settings, "doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(out)}
    assert "EMENDO_EMBEDDING_MODEL" in findings["environment"]["mend"]
    assert findings["index"]["state"] == findings["workers"]["state"] == "warn"
    away = emendo_worker.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    code, out, _ = cli(away, "doctor", "--json")
    assert code == 1
    assert "does not answer" in json.loads(out)[-1]["found"]
    away = emendo_worker.model_copy(update={"control_url": "redis://127.0.0.1:1/0"})
    code, out, _ = cli(away, "doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(out)}
    assert (code, findings["redis"]["state"], findings["jobs"]["state"]) == (1, "ok", "fail")
    assert "emendo doctor" in cli(emendo_worker, "doctor")[1]


def test_flowers_password_is_never_on_a_command_line(monkeypatch, emendo_worker):
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: called.append(command))
    for name, value in environment(emendo_worker).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EMENDO_FLOWER_PASSWORD", "hush")
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "")
    assert run(["flower", "--port", "59123"]) == 0
    assert os.environ["FLOWER_BASIC_AUTH"] == "emendo:hush"
    assert called == [celery_command("flower", "--address=127.0.0.1", "--port=59123")]
    monkeypatch.setenv("EMENDO_FLOWER_PASSWORD", "a,b")
    assert run(["flower", "--port", "59123"]) == 1


def test_up_starts_everything_and_one_signal_stops_it_all(tmp_path):
    ready = tmp_path / "ready.json"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))}
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "emendo_client.cli",
                "up",
                "--dir",
                str(tmp_path / "data"),
                "--ready-file",
                str(ready),
            ],
            env={**clean, "EMENDO_EMBEDDING_BASE_URL": "http://127.0.0.1:1/v1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, (tmp_path / "up.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "up.log").read_text()
        stack = json.loads(ready.read_text())
        assert ready.stat().st_mode & 0o077 == 0, "it holds a password"
        assert set(stack["pids"]) == {"redis", "worker", "beat", "flower", "gateway"}
        with urllib.request.urlopen(f"{stack['gateway_url']}/health", timeout=10) as answer:
            assert json.load(answer)["workers"] == 1
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{stack['flower_url']}/api/tasks", timeout=10)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "up.log").read_text()[-3000:]
    assert not ready.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in stack["pids"].values())
    assert stack["flower_password"] in (tmp_path / "up.log").read_text()


def test_housekeeping_forgets_jobs_whose_records_expired(services, client):
    from intake import added

    from emendo_workers.housekeeping import keep_house

    added(services, client)
    waiting = client.add("waits", user_id="ana", infer=False)
    gone = client.jobs()[1].job_id
    services.control.delete(services.keys.job(gone))
    tomorrow = time.time() + services.settings.job_ttl + 60
    assert keep_house(services, tomorrow) == {"lists": 1, "removed": 1, "expired": 0}
    jobs = services.control.zrange(Keys(services.settings.key_prefix).jobs("default"), 0, -1)
    assert jobs == [waiting.id.encode()]


def test_a_worker_is_started_with_one_arena_unless_somebody_says_otherwise(monkeypatch, cli):
    monkeypatch.setattr(os, "execv", lambda *_: None)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    assert cli(None, "worker")[0] == 0
    assert os.environ["MALLOC_ARENA_MAX"] == "7"
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    assert cli(None, "worker")[0] == 0
    assert os.environ["MALLOC_ARENA_MAX"] == "1"
