"""Every scheme that the settings accept works: for clients, workers, the broker, Flower, the gateway and commands."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import redis
from kombu.transport.pyamqp import Transport as AMQPTransport

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.testing.embedded_redis import SERVER_OPTIONS
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.redis_servers import find_server
from emendo_client.testing.worker import WorkerProcess, environment
from emendo_config import ConfigurationError, Settings
from emendo_config.celery_app import create_app
from emendo_config.queues import QUEUES
from tests.support.gateway import browser
from tests.support.patience import PATIENCE, until
from tests.support.schemes import SCHEMES
from tests.support.sentinels import MASTER_NAME
from tests.support.tls import Certificates, TLSProxy

PASSWORD = "p%40ss%2Fw%3Brd"  # as a URL has it


class _Processes:
    """Servers of one test, ended in reverse order."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str], **more) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.started.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.started):
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def processes() -> Iterator[_Processes]:
    made = _Processes()
    yield made
    made.stop()


@pytest.fixture
def own_redis(processes, tmp_path):
    """A Redis with a password, at a port, and at a unix socket whose folder has a space in its name."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    path, port = folder / "redis.sock", free_port()
    options = {**SERVER_OPTIONS, "bind": LOOPBACK, "port": str(port), "dir": str(folder), "unixsocket": str(path)}
    flags = [word for name, value in {**options, "requirepass": "p@ss/w;rd"}.items() for word in (f"--{name}", value)]
    processes.start([*find_server().argv, *flags])
    until(path.exists, "Redis did not start")
    return SimpleNamespace(port=port, socket=str(path).replace(" ", "%20"))


@pytest.fixture
def urls(request, tmp_path, processes):
    """The settings' URLs for a scheme."""
    own = request.getfixturevalue("own_redis")
    if request.param == "redis":
        yield {"redis_url": f"redis://:{PASSWORD}@{LOOPBACK}:{own.port}/0"}
    elif request.param == "unix":
        yield {"redis_url": f"unix://default:{PASSWORD}@{own.socket}?db=0"}
    elif request.param == "amqp broker":
        broker = request.getfixturevalue("rabbitmq")
        yield {"redis_url": f"redis://:{PASSWORD}@{LOOPBACK}:{own.port}/0", "broker_url": broker.url}
    elif request.param == "unix broker":
        at = f"unix://:{PASSWORD}@{own.socket}"
        yield {"redis_url": at, "control_url": f"{at}?db=2", "broker_url": f"{at}?db=3"}
    elif request.param == "rediss":
        made = Certificates(tmp_path)
        with TLSProxy(own.port, made.right) as proxy:
            yield {"redis_url": f"rediss://:{PASSWORD}@{LOOPBACK}:{proxy.port}/0?ssl_ca_certs={made.ca}"}
            assert proxy.encrypted
            assert not proxy.plain
    else:
        tls = request.param == "rediss+sentinel"
        made = Certificates(tmp_path)
        with TLSProxy(own.port, made.right) as master:
            port = free_port()
            conf = tmp_path / "sentinel.conf"
            conf.write_text(
                f"port {port}\nbind {LOOPBACK}\ndir {tmp_path}\n"
                f"sentinel monitor {MASTER_NAME} {LOOPBACK} {master.port} 1\n"
                f"sentinel auth-pass {MASTER_NAME} p@ss/w;rd\n"
            )
            processes.start([find_server().argv[0], str(conf), "--sentinel"])
            with redis.Redis(port=port) as sentinel:
                until(lambda: _masters(sentinel), "the sentinel knows no master")
            with TLSProxy(port, made.right) as asked:
                options = f"?ssl_ca_certs={made.ca}" if tls else ""
                hosts = f"{LOOPBACK}:{asked.port}"
                yield {"redis_url": f"{request.param}://:{PASSWORD}@{hosts}/{MASTER_NAME}/0{options}"}
                assert (asked.encrypted > 0, asked.plain == 0) == (tls, tls)
                assert (master.encrypted > 0) == tls


def _masters(sentinel: redis.Redis) -> bool:
    try:
        return b"flags" in str(sentinel.execute_command("SENTINEL", "MASTER", MASTER_NAME)).encode()
    except redis.RedisError:
        return False


@pytest.mark.slow  # a whole stack for each
@pytest.mark.parametrize("urls", SCHEMES, indirect=True)
async def test_every_part_works_with_the_scheme(urls, openai_server, tmp_path, cli, processes):
    # The sweeper sends a lost wake-up again, and would hide a broker that does not work.
    settings = settings_for(base_url=openai_server.base_url, **urls, sweep_interval=30.0, lease=60.0)
    log = tmp_path / "worker.log"
    with WorkerProcess(settings, log), MemoryClient(settings) as client:
        added = client.add("I like fish.", user_id="ana", infer=False).wait(PATIENCE)
        assert added.status == "succeeded"
        assert [hit.memory for hit in client.search("fish", user_id="ana")] == ["I like fish."]
        async with AsyncMemoryClient(settings) as asked:
            job = await asked.update(added.results[0].memory_id, "I like sushi.")
            assert (await job.wait(PATIENCE)).status == "succeeded"
            assert len(await asked.history(added.results[0].memory_id)) == 2
        with create_app(settings) as app:
            assert len(app.control.ping(timeout=PATIENCE, limit=1)) == 1, "the broker carries no messages back"
        code, out, err = cli(settings, "doctor", "--json")
        assert code == 0, out + err
        assert {each["state"] for each in json.loads(out) if each["check"] in ("redis", "broker", "workers")} == {"ok"}
        with browser(settings) as gateway:
            assert gateway.get("/health").json()["workers"] == 1
        _ask_flower(settings, processes)
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "p@ss" not in said
    assert "p%40ss" not in said


def _ask_flower(settings: Settings, processes: _Processes) -> None:
    """Flower lists the worker, which it finds through the broker."""
    port = free_port()
    processes.start(
        [sys.executable, "-m", "emendo_ops.cli", "flower", "--port", str(port)],
        env={**environment(settings), "EMENDO_FLOWER_PASSWORD": "hush"},
    )
    headers = {"Authorization": f"Basic {b64encode(b'emendo:hush').decode()}"}

    def answer(page: str) -> str:
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}{page}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.read().decode()
        except OSError:
            return ""

    until(lambda: "test-" in answer("/workers?json=1"), "Flower does not see the worker")


def test_a_unix_socket_has_its_broker_beside_it(tmp_path):
    settings = Settings(redis_url="unix://u:p%3Bw@/run/a%20b/redis.sock?db=0")
    assert settings.broker_url == "redis+socket://u:p%3Bw@/run/a%20b/redis.sock?virtual_host=1"
    given = Settings(redis_url="redis://h/0", broker_url="unix:///run/redis.sock?db=4")
    assert create_app(given).conf.broker_url == "redis+socket:///run/redis.sock?virtual_host=4"
    assert set(create_app(given).amqp.queues) == set(QUEUES), "the key prefix is before each key of a Redis broker"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis_url", "unix://run/redis.sock"),
        ("broker_url", "redis+socket:///run/redis.sock?db=1"),
        ("broker_url", "rediss+socket:///run/redis.sock"),
        ("broker_url", "unix:///run/redis.sock?socket_timeout=1"),
    ],
)
def test_what_would_be_misread_is_refused(name, url):
    with pytest.raises(ConfigurationError, match=f"EMENDO_{name.upper()} cannot be used"):
        Settings(**{"redis_url": "redis://h/0", name: url})


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_an_amqp_broker_gets_kombus_transport(scheme):
    """Nothing listens there: a caller that only sends is told at once."""
    settings = Settings(redis_url="redis://h/0", broker_url=f"{scheme}://guest:guest@{LOOPBACK}:1//")
    app = create_app(settings, only_sends=True)
    with app.connection_for_write() as connection:
        assert isinstance(connection.transport, AMQPTransport)
        with pytest.raises(OSError, match="refused"):
            connection.connect()
