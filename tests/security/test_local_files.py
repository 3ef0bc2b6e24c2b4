"""Files of the local stack are for their owner only, and a folder that others can change is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.folders import make_folder, password_in
from emendo_client.testing.ports import free_port
from emendo_client.testing.redis_servers import find_server
from emendo_config import ConfigurationError
from emendo_ops.stack.readiness import redis_answers
from emendo_ops.stack.running import RunFolder
from tests.support.patience import until

SOMEBODY = 4_711
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


def open_to_others(folder: Path) -> dict[str, str]:
    """Everything in the folder, and itself, that another user may read or change."""
    every = [folder, *folder.rglob("*")]
    return {str(each): oct(each.lstat().st_mode) for each in every if each.lstat().st_mode & 0o077}


def given_away(folder: Path) -> Path:
    os.chown(folder, SOMEBODY, SOMEBODY, follow_symlinks=False)
    return folder


def test_the_embedded_redis_wants_its_password_and_keeps_its_files_to_itself(tmp_path):
    before = os.umask(0o002)  # as many systems set it
    try:
        with EmbeddedRedis(tmp_path / "data") as server, redis.from_url(server.url) as ours:
            ours.set("k", "v")
            with redis.Redis(port=server.port, protocol=2, retry=Retry(NoBackoff(), 0)) as stranger:
                for command in (("GET", "k"), ("CONFIG", "GET", "dir"), ("FT._LIST",), ("ACL", "LIST")):
                    with pytest.raises(redis.AuthenticationError):
                        stranger.execute_command(*command)
            password = password_in(tmp_path / "data")
            assert f":{password}@127.0.0.1" in server.url
            command_line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
            assert password.encode() not in command_line
            assert b"127.0.0.1" in command_line
            assert password not in (tmp_path / "data" / "redis.log").read_text()
            assert password not in (tmp_path / "data" / "lock").read_text()
            assert (ours.config_get("bind")["bind"], ours.config_get("protected-mode")["protected-mode"]) == (
                "127.0.0.1",
                "yes",
            )
    finally:
        os.umask(before)
    assert (tmp_path / "data" / "appendonlydir").is_dir()
    assert open_to_others(tmp_path / "data") == {}


def test_a_server_on_its_own_command_reads_the_same_password(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "emendo_ops.cli", "redis", "--port", str(port), "--dir", str(tmp_path / "data")]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-hush", "EMENDO_FLOWER_PASSWORD": "hush"}
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        until(lambda: redis_answers(EmbeddedRedis(tmp_path / "data", port).url))
        password = password_in(tmp_path / "data")
        assert password not in said.read_text()
        (line,) = [line for line in said.read_text().splitlines() if line.startswith("export ")]
        shown = subprocess.run(
            ["sh", "-c", f"{line}; echo $EMENDO_REDIS_URL"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == EmbeddedRedis(tmp_path / "data", port).url
        assert b"hush" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert password.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert open_to_others(tmp_path / "data") == {}
    finally:
        process.kill()
        process.wait()


def test_a_folder_of_an_earlier_release_keeps_its_data_and_gets_a_password(tmp_path):
    folder = tmp_path / "data"
    with EmbeddedRedis(folder, password="") as former, redis.from_url(former.url) as connection:
        connection.set("k", "kept")
    (folder / "password").unlink(missing_ok=True)
    folder.chmod(0o755)
    with EmbeddedRedis(folder) as server, redis.from_url(server.url) as connection:
        assert connection.get("k") == b"kept"
        first = server.url.replace(str(server.port), "")
    assert folder.stat().st_mode & 0o777 == 0o700
    with EmbeddedRedis(folder) as again:
        assert again.url.replace(str(again.port), "") == first


@pytest.mark.parametrize("text", ["", "short", 'x" nothing\nrename-command', "eight chars with spaces"])
def test_a_password_file_without_a_usable_password_is_named(tmp_path, text):
    (tmp_path / "password").write_text(text)
    with pytest.raises(ConfigurationError, match="holds no password of yours") as refused:
        password_in(tmp_path)
    assert not text or text not in str(refused.value)


def test_a_link_in_the_place_of_the_password_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("somebody-elses-secret")
    (tmp_path / "password").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        password_in(tmp_path)


def test_another_password_may_be_chosen(tmp_path):
    (tmp_path / "password").write_text("my-own.Pass_word~1\n")
    (tmp_path / "password").chmod(0o644)
    assert password_in(tmp_path) == "my-own.Pass_word~1"
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def _others_may_write(parent: Path) -> Path:
    (parent / "mine").mkdir()
    (parent / "mine").chmod(0o777)
    return parent / "mine"


def _others_may_write_above(parent: Path) -> Path:
    return _others_may_write(parent) / "mine"


def _everybodys_sticky(parent: Path) -> Path:
    folder = _others_may_write(parent)
    folder.chmod(0o1777)
    return folder


def _a_link_into_one(parent: Path) -> Path:
    (parent / "link").symlink_to(_others_may_write(parent), target_is_directory=True)
    return parent / "link" / "below"


def _a_link_through_one(parent: Path) -> Path:
    folder = _others_may_write(parent)
    (folder / "data").mkdir()
    (parent / "link").symlink_to("mine/../mine/data")
    return parent / "link"


def _a_group_may_write(parent: Path) -> Path:
    (parent / "mine").mkdir()
    os.chown(parent / "mine", -1, SOMEBODY)
    (parent / "mine").chmod(0o770)
    return parent / "mine"


def _somebody_elses(parent: Path) -> Path:
    (parent / "theirs").mkdir(mode=0o777)
    return given_away(parent / "theirs")


def _below_somebody_elses(parent: Path) -> Path:
    _somebody_elses(parent)
    (parent / "theirs" / "mine").mkdir()
    return parent / "theirs" / "mine"


def _somebody_elses_link(parent: Path) -> Path:
    (parent / "mine").mkdir()
    (parent / "link").symlink_to(parent / "mine")
    return given_away(parent / "link")


UNSAFE = [
    *(_others_may_write, _others_may_write_above, _everybodys_sticky, _a_link_into_one, _a_link_through_one),
    *(
        pytest.param(each, marks=AS_ROOT)
        for each in (_a_group_may_write, _somebody_elses, _below_somebody_elses, _somebody_elses_link)
    ),
]


@pytest.mark.parametrize("make", UNSAFE)
def test_a_folder_that_others_can_change_is_refused(cli, tmp_path, make):
    folder = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=f"folder {folder} is not safe: {tmp_path}"):
        make_folder(folder)
    for command in (("redis", "--port", "0"), ("beat",), ("up",), ("up", "--detach"), ("status",), ("down",)):
        code, _, said = cli(None, *command, "--dir", str(folder))
        assert (code, "is not safe" in said, "--dir" in said) == (1, True, True), (command, said)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was made there"


def test_a_planted_record_does_not_name_a_process_to_stop(tmp_path):
    folder = _others_may_write(tmp_path)
    (folder / "up").mkdir()
    with pytest.raises(ConfigurationError, match="is not safe"):
        RunFolder(folder)


def _below_a_sticky_one(parent: Path) -> Path:
    return _everybodys_sticky(parent) / "mine"


def _my_link_to_mine(parent: Path) -> Path:
    (parent / "mine").mkdir()
    (parent / "link").symlink_to("mine")
    return parent / "link"


@pytest.mark.parametrize("make", [_below_a_sticky_one, _my_link_to_mine, lambda parent: parent / "a" / "b"])
def test_a_folder_that_only_its_owner_can_change_is_taken(tmp_path, make):
    folder = make(tmp_path)
    make_folder(folder)
    assert stat.S_ISDIR(folder.stat().st_mode)


def test_a_server_of_the_current_folder_is_not_started(tmp_path, monkeypatch):
    planted = tmp_path / "redis-server"
    planted.write_text(f"#!/bin/sh\ntouch {tmp_path / 'was-run'}\nexit 1\n")
    planted.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")
    assert find_server.__wrapped__().argv
    assert not (tmp_path / "was-run").exists()
