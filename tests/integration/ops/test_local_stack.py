"""The embedded Redis, the command line and the gateway, as a new user meets them."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest
import redis

from emendo_client import MemoryClient
from emendo_client.testing import redis_servers
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.redis_servers import ServerCommand, find_server
from emendo_config import ConfigurationError, Keys
from tests.support.patience import PATIENCE


def test_data_survives_a_kill_and_a_restart_on_the_same_port(tmp_path):
    server = EmbeddedRedis(tmp_path / "data", appendfsync="always")
    server.start()
    try:
        port = server.port
        with redis.from_url(server.url) as connection:
            connection.execute_command("FT.CREATE", "i", "PREFIX", 1, "m:", "SCHEMA", "t", "TAG")
            connection.hset("m:1", "t", "kept")
        server.kill()
        assert server.pid is None
        server.start()
        assert server.port == port
        with redis.from_url(server.url, protocol=2) as connection:
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
    monkeypatch.setattr(redis_servers, "_candidates", lambda: candidates)
    with pytest.raises(ConfigurationError) as refused:
        find_server.__wrapped__()
    assert "a plain one: has no search module" in refused.value.message
    assert "a missing one: does not start" in refused.value.message
    assert "docker-compose.yml" in refused.value.suggestion


def test_a_memorys_life_on_the_command_line(cli, emendo_worker, openai_server):
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
    assert ok("dead") == [], "a refused request is no dead letter"
    openai_server.faults.add(Fault("bad_request", times=1, match="unbearable"))
    code, out, _ = cli(emendo_worker, "add", "unbearable", "--user", "cli", "--no-infer", "--json")
    failed = json.loads(out)
    assert (code, failed["status"]) == (1, "failed")
    assert [letter["job_id"] for letter in ok("dead")] == [failed["job_id"]]
    assert cli(emendo_worker, "dead", "replay", failed["job_id"])[0] == 0
    with MemoryClient(emendo_worker) as client:
        assert client.job(failed["job_id"]).wait(PATIENCE).status == "succeeded"
    assert ok("dead") == []
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
        (("add", "x"), 2, "whose memories"),
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


def test_housekeeping_forgets_jobs_whose_records_expired(services, client):
    from emendo_workers.maintenance.housekeeping import keep_house
    from tests.support.intake import added

    added(services, client)
    waiting = client.add("waits", user_id="ana", infer=False)
    gone = client.jobs()[1].job_id
    services.control.delete(services.keys.job(gone))
    tomorrow = time.time() + services.settings.job_ttl + 60
    assert keep_house(services.store, services.notifier, tomorrow) == {
        "lists": 1,
        "removed": 1,
        "expired": 0,
        "sorted_dead": 0,
        "discarded_dead": 0,
        "aof_rewrites": 0,
        "tagged": 0,
        "words": 0,
    }
    jobs = services.control.zrange(Keys(services.settings.key_prefix).jobs("default"), 0, -1)
    assert jobs == [waiting.id.encode()]


def test_a_worker_is_started_with_one_arena_unless_somebody_says_otherwise(monkeypatch, cli):
    monkeypatch.setattr(os, "execve", lambda *_: None)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    assert cli(None, "worker")[0] == 0
    assert os.environ["MALLOC_ARENA_MAX"] == "7"
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    assert cli(None, "worker")[0] == 0
    assert os.environ["MALLOC_ARENA_MAX"] == "1"
