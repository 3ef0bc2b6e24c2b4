"""The page on Redis' users and the committed ACL file are what the code says, and Redis takes the file."""

from __future__ import annotations

import stat
import subprocess

import pytest
import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from docs import generate_redis_users
from emendo_client.testing.redis_servers import find_server
from emendo_config.redis_users import ROLES, Names, acl_file
from emendo_ops.cli.app import run
from tests.support.patience import until


def test_the_page_is_what_the_code_says():
    assert generate_redis_users.PAGE.read_text(encoding="utf-8") == generate_redis_users.page()


def test_the_committed_file_is_what_the_code_says_and_has_no_password():
    text = generate_redis_users.ACL_FILE.read_text(encoding="utf-8")
    assert text == acl_file(Names.of("emendo:"))
    assert not {word[0] for line in text.splitlines() for word in line.split()} & {">", "#", "<"}
    assert "nopass" not in text
    assert text.startswith("user default off ")


@pytest.fixture
def loaded(tmp_path):
    """Starts Redis with an ACL file, which has no user for this test beside those of the roles; its socket."""
    running = []

    def start(path) -> str:
        socket = str(tmp_path / "s")
        command = [*find_server().argv, "--port", "0", "--unixsocket", socket, "--save", "", "--aclfile", str(path)]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        for line in running[-1].stdout:
            if b"Ready to accept connections" in line:
                return socket
        raise AssertionError("Redis does not take the file")

    yield start
    for each in running:
        each.kill()
        each.communicate()


def test_redis_takes_the_committed_file_and_lets_nobody_in(loaded):
    # Without retries: redis-py takes a refused login for a lost connection.
    place = {"unix_socket_path": loaded(generate_redis_users.ACL_FILE), "retry": Retry(NoBackoff(), 0)}
    for role in ("default", *ROLES):
        for password in ("", role, "CHANGE-ME"):
            with (
                redis.Redis(**place, username=role, password=password) as connection,
                pytest.raises(AuthenticationError),
            ):
                connection.execute_command("AUTH", role, password)


def test_the_command_makes_passwords_that_only_their_files_hold(loaded, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("EMENDO_KEY_PREFIX", "we[b]:")
    folder = tmp_path / "users"
    assert run(["redis-users", "--out", str(folder), "--address", "host:7000"]) == 0
    written = capfd.readouterr()
    urls = {}
    for role in ROLES:
        path = folder / f"{role}.env"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        name, _, urls[role] = path.read_text().strip().partition("=")
        assert name == "EMENDO_REDIS_URL"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    passwords = {url.split(":")[2].partition("@")[0] for url in urls.values()}
    assert len(passwords) == len(ROLES)
    assert not [word for word in passwords if word in written.out + written.err + (folder / "users.acl").read_text()]
    socket = loaded(folder / "users.acl")
    for role, url in urls.items():
        assert url.endswith("@host:7000/0")
        password = url.split(":")[2].partition("@")[0]
        with redis.Redis(unix_socket_path=socket, username=role, password=password) as connection:
            assert connection.ping()
            if role == "worker":
                connection.set("we[b]:x", 1)
                with pytest.raises(redis.exceptions.NoPermissionError):
                    connection.set("web:x", 1)
    assert run(["redis-users", "--out", str(folder)]) == 1, "passwords in use are not replaced"
    assert "already" in capfd.readouterr().err


def test_what_a_role_wrote_in_a_transaction_is_there_after_a_restart(tmp_path):
    """Redis reads its append-only file as the user `default`, and checks that user's rights."""
    assert run(["redis-users", "--prefix", "emendo:", "--out", str(tmp_path / "users")]) == 0
    url = (tmp_path / "users" / "worker.env").read_text().strip()
    password = url.split(":")[2].partition("@")[0]
    options = ("--appendonly", "yes", "--aclfile", str(tmp_path / "users" / "users.acl"))
    socket = tmp_path / "s"

    def with_redis(work):
        command = [*find_server().argv, "--port", "0", "--unixsocket", str(socket), *options]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:
            until(socket.exists, "Redis does not start")
            retry = Retry(ConstantBackoff(0.01), 1_000)  # while it reads its file
            place = {"unix_socket_path": str(socket), "username": "worker", "password": password}
            with redis.Redis(**place, retry=retry, retry_on_error=[redis.BusyLoadingError]) as connection:
                return work(connection)
        finally:
            process.kill()
            process.wait()
            socket.unlink()

    def write(connection: redis.Redis) -> None:
        with connection.pipeline(transaction=True) as together:
            together.set("emendo:x", 1).set("emendo:y", 2).execute()

    with_redis(write)
    assert with_redis(lambda connection: connection.mget("emendo:x", "emendo:y")) == [b"1", b"2"]


def test_two_servers_get_the_rights_of_their_planes_only(tmp_path, capfd):
    assert run(["redis-users", "--prefix", "p:", "--plane", "data"]) == 0
    data = capfd.readouterr().out
    assert run(["redis-users", "--prefix", "p:", "--plane", "control", "--plane", "broker"]) == 0
    control = capfd.readouterr().out
    assert "%R~p:memory:{*" in data
    assert "p:memory:" not in control
    assert "~p:job:*" in control
    assert "p:job:*" not in data
    assert "user beat " not in data
    assert run(["redis-users", "--prefix", "p:", "--plane", "broker", "--out", str(tmp_path), "--address", "h:1"]) == 0
    assert (tmp_path / "beat.env").read_text().startswith("EMENDO_BROKER_URL=redis://beat:")
    assert not (tmp_path / "app.env").read_text().count("EMENDO_REDIS_URL")
