"""The whole story of a client with each of the parts that an installation may be made of: see `real_parts.py`."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from emendo_client.testing.embedded_redis import SERVER_OPTIONS
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.redis_servers import find_server
from emendo_client.testing.worker import WorkerProcess, environment
from emendo_config import Settings
from emendo_config.celery_app import create_app
from tests.support import client_story
from tests.support.gateway import RunningGateway
from tests.support.patience import PATIENCE, until
from tests.support.real_parts import PARTS
from tests.support.sentinels import MASTER_NAME
from tests.support.tls import Certificates, TLSProxy

pytestmark = pytest.mark.slow  # a whole stack for each

PASSWORD = "p@ss/w;rd"
LOGIN = ":p%40ss%2Fw%3Brd@"  # as a URL has it
URLs = dict[str, str]


class _Redis(NamedTuple):
    """A server with a password, at a port, and at a unix socket whose folder has a space in its name."""

    port: int
    socket: Path

    def url(self, database: int) -> str:
        return f"redis://{LOGIN}{LOOPBACK}:{self.port}/{database}"

    def at_socket(self, database: int) -> str:
        return f"unix://{LOGIN}{str(self.socket).replace(' ', '%20')}?db={database}"

    def connect(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD)


class _Makers:
    """Makes the URLs of each kind of installation; what it starts ends with its stack, and is checked then."""

    def __init__(self, folder: Path, stack: ExitStack, rabbitmq_port: Callable[[], int]) -> None:
        self._folder = folder
        self._stack = stack
        self._rabbitmq_port = rabbitmq_port
        self._certificates = Certificates(folder)
        self._options = f"?ssl_ca_certs={self._certificates.ca}"

    def redis(self) -> URLs:
        return {"redis_url": self._redis().url(0)}

    def unix(self) -> URLs:
        return {"redis_url": self._redis().at_socket(0)}

    def unix_databases(self) -> URLs:
        own = self._redis()
        return {"redis_url": own.at_socket(0), "control_url": own.at_socket(2), "broker_url": own.at_socket(3)}

    def control_apart(self) -> URLs:
        own, control = self._redis(), self._apart()
        return {"redis_url": own.url(0), "control_url": control.url(0), "broker_url": control.url(1)}

    def rabbitmq(self) -> URLs:
        return {**self.redis(), "broker_url": f"amqp://guest:guest@{LOOPBACK}:{self._rabbitmq_port()}//"}

    def rabbitmq_with_tls(self) -> URLs:
        proxy = self._behind_tls(self._rabbitmq_port())
        return {**self.redis(), "broker_url": f"amqps://guest:guest@{LOOPBACK}:{proxy.port}//{self._options}"}

    def tls(self) -> URLs:
        proxy = self._behind_tls(self._redis().port)
        return {"redis_url": f"rediss://{LOGIN}{LOOPBACK}:{proxy.port}/0{self._options}"}

    def sentinel(self) -> URLs:
        port = self._sentinel(self._redis().port)
        return {"redis_url": f"redis+sentinel://{LOGIN}{LOOPBACK}:{port}/{MASTER_NAME}/0"}

    def sentinel_with_tls(self) -> URLs:
        master = self._behind_tls(self._redis().port, also_plain=True)  # the sentinel looks at it without
        asked = self._behind_tls(self._sentinel(master.port))
        return {"redis_url": f"rediss+sentinel://{LOGIN}{LOOPBACK}:{asked.port}/{MASTER_NAME}/0{self._options}"}

    def all_apart(self) -> URLs:
        broker = f"amqp://guest:guest@{LOOPBACK}:{self._rabbitmq_port()}//"
        return {**self.sentinel(), "control_url": self._apart().url(0), "broker_url": broker}

    def _redis(self, *command: str, name: str = "a folder") -> _Redis:
        folder = self._folder / name
        folder.mkdir()
        made = _Redis(free_port(), folder / "redis.sock")
        options = {
            **SERVER_OPTIONS,
            "bind": LOOPBACK,
            "port": str(made.port),
            "dir": str(folder),
            "unixsocket": str(made.socket),
            "requirepass": PASSWORD,
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._start([*(command or find_server().argv), *flags])
        until(made.socket.exists, "Redis did not start")
        return made

    def _apart(self) -> _Redis:
        """A second server: it has no search module, gets jobs, and never a memory."""
        made = self._redis(find_server().argv[0], name="control")

        def check() -> None:
            with made.connect() as control:
                names = {bytes(name) for database in (0, 1) for name in _names(control, database)}
                assert any(b":job:" in name for name in names)
                assert not [name for name in names if b":memory:" in name or b":history:" in name]

        self._stack.callback(check)
        with made.connect() as control, pytest.raises(redis.ResponseError, match="unknown command"):
            control.execute_command("FT._LIST")
        return made

    def _behind_tls(self, port: int, *, also_plain: bool = False) -> TLSProxy:
        proxy = self._stack.enter_context(TLSProxy(port, self._certificates.right))

        def check() -> None:
            assert proxy.encrypted
            assert also_plain or not proxy.plain

        self._stack.callback(check)
        return proxy

    def _sentinel(self, master: int) -> int:
        port = free_port()
        conf = self._folder / "sentinel.conf"
        conf.write_text(
            f"port {port}\nbind {LOOPBACK}\ndir {self._folder}\n"
            f"sentinel monitor {MASTER_NAME} {LOOPBACK} {master} 1\n"
            f"sentinel auth-pass {MASTER_NAME} {PASSWORD}\n"
        )
        self._start([find_server().argv[0], str(conf), "--sentinel"])
        with redis.Redis(port=port) as sentinel:
            until(lambda: _knows_its_master(sentinel), "the sentinel knows no master")
        return port

    def _start(self, command: list[str]) -> None:
        self._stack.enter_context(_process(command))


def _names(connection: redis.Redis, database: int) -> list[Any]:
    connection.select(database)
    return list(connection.scan_iter(count=10_000))


def _knows_its_master(sentinel: redis.Redis) -> bool:
    try:
        return b"flags" in str(sentinel.execute_command("SENTINEL", "MASTER", MASTER_NAME)).encode()
    except redis.RedisError:
        return False


@contextmanager
def _process(command: list[str], **more: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: parts.name)
async def test_the_whole_story_of_a_client(parts, request, openai_server, tmp_path, cli):
    log = tmp_path / "worker.log"
    with ExitStack() as stack:
        makers = _Makers(tmp_path, stack, lambda: request.getfixturevalue("rabbitmq").port)
        urls = getattr(makers, parts.name.replace(" ", "_").lower())()
        assert {f"EMENDO_{name.upper()}" for name in urls} == set(parts.settings)
        for name, url in urls.items():
            start, _, end = parts.settings[f"EMENDO_{name.upper()}"].partition("…")
            assert url.startswith(start)
            assert url.endswith(end)
        settings = client_story.settings_with(openai_server, **urls)
        with WorkerProcess(settings, log):
            await client_story.tell(settings, openai_server)
            with RunningGateway(settings) as gateway, gateway.tenant() as tenant:
                client_story.tell_over_http(tenant)
            # A connection of its own: a kept one may be of before another test killed the broker.
            with create_app(settings) as app, app.connection_for_write() as connection:
                answers = app.control.ping(timeout=PATIENCE, limit=1, connection=connection)
                assert len(answers) == 1, "the broker carries no messages back"
            code, out, err = cli(settings, "doctor", "--json")
            assert code == 0, out + err
            states = {each["check"]: each["state"] for each in json.loads(out)}
            assert {states[check] for check in ("redis", "index", "broker", "workers")} == {"ok"}, out
            _ask_flower(settings)
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "p@ss" not in said
    assert "p%40ss" not in said


def _ask_flower(settings: Settings) -> None:
    """Flower lists the worker, which it finds through the broker."""
    port = free_port()
    headers = {"Authorization": f"Basic {b64encode(b'emendo:hush').decode()}"}

    def answer(page: str) -> str:
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}{page}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.read().decode()
        except OSError:
            return ""

    command = [sys.executable, "-m", "emendo_ops.cli", "flower", "--port", str(port)]
    with _process(command, env={**environment(settings), "EMENDO_FLOWER_PASSWORD": "hush"}):
        until(lambda: "test-" in answer("/workers?json=1"), "Flower does not see the worker")
