"""The image and docker-compose.yml as an operator uses them: built, started, asked, killed, scaled and stopped.

The engine is podman. Public images have stand-ins of this machine's own packages, unless variables such as
EMENDO_REDIS_IMAGE name them. `tests/support/containers` has the parts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path

import pytest
import redis

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.openai_server.remote import RemoteOpenAIServer
from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.client_story import CHUNK
from tests.support.containers.engine import Engine, missing, own_engine
from tests.support.containers.images import public_images
from tests.support.containers.names import ADDRESS, LossyNames
from tests.support.containers.stack import FLOWER, OBSERVER, OBSERVERS_PASSWORD, PROVIDER, PROVIDER_PORT, USERS, Stack
from tests.support.patience import LONG_PATIENCE, PATIENCE, until
from tests.support.spans import Collector

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first test builds the image

ROOT = Path(__file__).resolve().parents[2]
PROVIDER_URL = f"http://{PROVIDER}:{PROVIDER_PORT}/v1"
# This machine, as podman lets containers call it.
HOST = "host.containers.internal"
COMMON = {
    "EMENDO_INDEX_TEXT": "true",
    "EMENDO_CHUNK_ITEMS": str(CHUNK),
    "EMENDO_BREAKER_FAILURES": "1000",
    "EMENDO_TRACES": "otlp",
}
EMBEDDING = {
    "EMENDO_EMBEDDING_BASE_URL": PROVIDER_URL,
    "EMENDO_EMBEDDING_API_KEY": "test",
    "EMENDO_EMBEDDING_DIMENSIONS": "64",
}
CHAT = {"EMENDO_CHAT_MODEL": "any", "EMENDO_CHAT_BASE_URL": PROVIDER_URL, "EMENDO_CHAT_API_KEY": "test"}
# The Redis user of each service.
ROLES = {
    "worker-interactive": "worker",
    "worker-bulk": "worker",
    "beat": "beat",
    "flower": "flower",
    "gateway": "gateway",
}
SERVICES = {"redis", *ROLES}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if lacking := missing():
        pytest.skip(f"no container runs here: {lacking} would be needed")
    with own_engine() as made:
        yield made


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector("0.0.0.0", HOST) as running:
        yield running


@pytest.fixture(scope="module")
def started(engine, collector, tmp_path_factory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    made = Stack(engine, folder, public_images(engine, tmp_path_factory.mktemp("images")))
    made.write({**COMMON, **collector.variables}, EMBEDDING, CHAT)
    made.build()
    made.start()
    yield made
    made.compose("--profile", "grafana", "down", "--volumes")
    assert made.containers() == []


@pytest.fixture
def stack(started) -> Stack:
    """Everything runs and is well."""
    started.until_healthy()
    started.until_workers(2)
    return started


def test_every_health_check_turns_green(stack):
    names = {stack.service_of(name): name for name in stack.containers()}
    assert names.keys() == SERVICES
    seen = {service: stack.engine.look(name)["State"]["Health"]["Status"] for service, name in names.items()}
    assert set(seen.values()) == {"healthy"}, seen


def test_a_client_in_another_container_tells_the_whole_story(stack, collector, tmp_path):
    made = stack.operator("keys", "create", "--project", "acme", "--scope", "write", "--json")
    code = tmp_path / "code"
    for package in ("pytest", "pluggy", "iniconfig"):  # all that the story needs beside the image
        for file in files(package) or ():
            if file.parts[0] not in {"..", "__pycache__"} and file.suffix == ".py":
                (code / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), code / file)
    shutil.copytree(
        ROOT / "tests" / "support", code / "tests" / "support", ignore=shutil.ignore_patterns("__pycache__")
    )
    said = stack.engine(
        "run",
        "--rm",
        *stack.run_options("app"),
        *("--network-alias", PROVIDER, "--volume", f"{code}:/code:ro", "--env", "PYTHONPATH=/code"),
        *("--env", f"STORY_KEY={json.loads(made)['key']}", "--env", "EMENDO_TRACES=off", "--entrypoint", "python"),
        *("emendo:local", "-m", "tests.support.containers.application", PROVIDER_URL, str(PROVIDER_PORT)),
    )
    assert "Traceback" not in said, said
    (request,) = collector.wait("POST /api/v1/memories")
    collector.wait("create_memory")
    assert {span.process[0] for span in collector.spans.all} == {"emendo-gateway", "emendo-worker"}
    assert [span for span in collector.spans.named("create_memory") if span.trace == request.trace]
    with _observer(stack) as observer:
        assert observer.acl_log() == []  # nothing of all this was refused


def _observer(stack: Stack) -> redis.Redis:
    """A connection that sees those of others, and what Redis refused them."""
    login = {"username": OBSERVER, "password": OBSERVERS_PASSWORD}
    return redis.Redis(port=stack.ports["redis"], protocol=2, decode_responses=True, **login)


def test_each_service_is_at_redis_as_its_own_user_and_nobody_is_without(stack):
    addresses = {}
    for name in stack.containers():
        (network,) = stack.engine.look(name)["NetworkSettings"]["Networks"].values()
        addresses[network["IPAddress"]] = stack.service_of(name)

    def users() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        with _observer(stack) as observer:
            for client in observer.client_list():
                service = addresses.get(client["addr"].partition(":")[0])
                if service:
                    found.setdefault(service, set()).add(client["user"])
        return found

    # Beat connects when it has something to send.
    assert {"beat": {"beat"}, **users()} == {name: {role} for name, role in ROLES.items()}
    with redis.Redis(port=stack.ports["redis"], protocol=2) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_a_process_may_do_nothing_that_it_need_not(stack):
    for name in stack.containers():
        service = stack.service_of(name)
        said = stack.engine("exec", name, "sh", "-c", "cat /proc/[0-9]*/status")
        processes = [dict(re.findall(r"^(\w+):\t(.*)$", one, re.MULTILINE)) for one in said.split("\nName:\t")]
        assert len(processes) > 1  # the shell is one of them
        users = {uid for each in processes for uid in each["Uid"].split()}
        assert len(users) == 1, service
        assert "0" not in users, service
        kinds = ("Inh", "Prm", "Eff", "Bnd", "Amb")
        assert {int(each[f"Cap{kind}"], 16) for each in processes for kind in kinds} == {0}, service
        assert {each["NoNewPrivs"] for each in processes} == {"1"}, service
        code, said = stack.engine.ask("exec", name, "touch", "/etc/x" if service == "redis" else "/var/lib/emendo/x")
        assert (code != 0, "Read-only file system" in said) == (True, True), (service, said)
        looked = stack.engine.look(name)
        assert looked["HostConfig"]["PidsLimit"] == stack.services[service]["pids_limit"], service
        ports = looked["NetworkSettings"]["Ports"]
        bound = {(each["HostIp"], int(each["HostPort"])) for those in ports.values() for each in those or ()}
        assert bound == ({(LOOPBACK, stack.ports[service])} if service in stack.ports else set())


def test_an_operators_command_finds_nothing_wrong(stack):
    with stack.provider():
        said = stack.operator("doctor", "--json")
    states = {each["check"]: each["state"] for each in json.loads(said)}
    assert {states[check] for check in ("redis", "index", "broker", "workers", "embedding")} == {"ok"}, said


_PING = """
import asyncio
from emendo_config import Settings
from emendo_config.store.connections import connect_async

async def ping():
    settings = Settings()
    async with connect_async(settings.redis_url, settings) as redis:
        await redis.ping()

asyncio.run(ping())
"""


def test_a_lost_answer_of_a_name_server_fails_no_call(stack):
    url = _url_of_an_app(stack, "redis.test")
    with LossyNames() as names:
        # It would use the name server of the stack's network in there.
        where = ["--network", "host", "--dns", ADDRESS, "--env", f"EMENDO_REDIS_URL={url}"]
        stack.engine("run", "--rm", *where, "--entrypoint", "python", "emendo:local", "-c", _PING)
    assert names.lost


def test_flower_lists_the_workers(stack):
    login = b64encode(":".join(FLOWER).encode()).decode()
    # Without `refresh` Flower answers with what it knew when it started.
    page = f"http://{LOOPBACK}:{stack.ports['flower']}/api/workers?refresh=1"

    def workers() -> set[str]:
        request = urllib.request.Request(page, headers={"Authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return {name.partition("@")[0] for name in json.loads(answer.read())}

    until(lambda: workers() == {"interactive", "bulk"}, workers)


def test_a_health_check_fails_while_redis_does_not_answer(stack):
    # Those of beat and Flower report on the process itself, and nothing runs in a paused container, whatever its check.
    asking = [name for name in stack.containers() if stack.service_of(name) not in {"beat", "flower", "redis"}]

    def fails(name: str) -> None:
        # Not at once: what the gateway says may be two seconds old.
        until(lambda: stack.check(name)[0] != 0, f"{name} is well although Redis does not answer")

    stack.engine("pause", stack.container("redis"))
    try:
        with ThreadPoolExecutor(len(asking)) as together:
            list(together.map(fails, asking))  # each waits until its time is over, so they wait together
    finally:
        stack.engine("unpause", stack.container("redis"))
    stack.until_healthy()


def _kill(stack: Stack, service: str) -> None:
    """Kills the first process of a container, and waits until all are well again."""
    name = stack.container(service)
    before = stack.engine.look(name)["State"]["Pid"]
    os.kill(before, signal.SIGKILL)

    def runs_again() -> bool:
        state = stack.engine.look(name)["State"]
        return state["Running"] and state["Pid"] not in {0, before}

    until(runs_again, lambda: stack.engine.look(name)["State"])
    stack.until_healthy()
    stack.until_workers(2)


@pytest.mark.parametrize("service", ["worker-interactive", "gateway"])
def test_a_container_whose_process_dies_comes_back(stack, service):
    _kill(stack, service)


def test_redis_comes_back_with_everything_that_it_had(stack):
    with _application(stack) as (_, client):
        memories = _added(client, 30)
        _kill(stack, "redis")
        assert [client.get(memory_id).memory for memory_id in memories] == [f"fact {n}" for n in range(30)]
        assert [entry.version for memory_id in memories for entry in client.history(memory_id)] == [1] * 30


def test_two_further_workers_start_and_go(stack):
    stack.compose("up", "--detach", "--no-recreate", "--scale", "worker-interactive=3")
    names = stack.containers("worker-interactive")
    try:
        assert len(names) == 3
        stack.until_healthy(*names)
        stack.until_workers(4)
    finally:
        own = f"{stack.project}_worker-interactive_1"
        further = [name for name in names if name != own]
        stack.engine("stop", *further)
        codes = [stack.engine.look(name)["State"]["ExitCode"] for name in further]
        stack.engine("rm", *further)
    assert codes == [0, 0]
    stack.until_workers(2)


def _url_of_an_app(stack: Stack, host: str) -> str:
    """Redis' published port, under a name of this machine."""
    (line,) = (stack.folder / USERS / "app.env").read_text().split()
    return line.partition("=")[2].replace("@redis:6379", f"@{host}:{stack.ports['redis']}")


@contextmanager
def _application(stack: Stack) -> Iterator[tuple[RemoteOpenAIServer, MemoryClient]]:
    """An application on this machine, as ops/README.md has it, and the provider in its container."""
    port = free_port()
    url = _url_of_an_app(stack, "localhost")
    settings = settings_for(url, f"http://{LOOPBACK}:{port}/v1", key_prefix="emendo:", index_text=True)
    with (
        stack.provider("--publish", f"{LOOPBACK}:{port}:{PROVIDER_PORT}"),
        MemoryClient(settings, project=f"project-{port}") as client,
    ):
        provider = RemoteOpenAIServer(settings.embedding_base_url)
        until(lambda: _answers(provider), "the provider does not answer")
        yield provider, client


def _answers(provider: RemoteOpenAIServer) -> bool:
    try:
        provider.requests()
    except OSError:
        return False
    return True


def _added(client: MemoryClient, number: int) -> list[str]:
    """The ids of new memories."""
    items = [{"messages": f"fact {n}", "user_id": "ana"} for n in range(number)]
    return [item.memory_id for item in client.batch_add(items, infer=False).wait(PATIENCE).results]


def test_stopped_workers_finish_what_they_have_and_the_rest_waits_for_others(stack):
    workers = ["worker-interactive", "worker-bulk"]
    with _application(stack) as (provider, client):
        memories = _added(client, 30)
        provider.set_latency(3_000)  # so that jobs are in the workers' hands when they are told to stop
        jobs = [client.update(memory_id, f"{memory_id} {n}") for n in range(10) for memory_id in memories]
        until(lambda: [job for job in jobs if job.status() == "running"], "no job was begun")
        stack.compose("stop", *workers)
        states = {name: stack.engine.look(stack.container(name))["State"] for name in workers}
        assert {(state["Running"], state["ExitCode"]) for state in states.values()} == {(False, 0)}, states
        left = [job.status() for job in jobs]
        assert set(left) == {"succeeded", "queued"}, left
        provider.set_latency(0)
        stack.compose("start", *workers)
        deadline = time.monotonic() + LONG_PATIENCE
        results = [job.wait(deadline - time.monotonic()) for job in jobs]
        assert {result.status for result in results} == {"succeeded"}
        for memory_id in memories:
            history = client.history(memory_id)
            assert [entry.version for entry in history] == list(range(1, 12))
            assert [entry.new_memory for entry in history[1:]] == [f"{memory_id} {n}" for n in range(10)]
    stack.until_healthy()


def test_the_profile_of_prometheus_starts_one_that_scrapes_and_has_the_rules(stack):
    if not stack.images.prometheus:
        pytest.skip("prometheus is not installed here, and EMENDO_PROMETHEUS_IMAGE names no image")
    stack.compose("--profile", "prometheus", "up", "--detach", "--no-recreate")
    stack.until_healthy(stack.container("prometheus"))

    def asked(path: str):
        with urllib.request.urlopen(
            f"http://{LOOPBACK}:{stack.ports['prometheus']}/api/v1/{path}", timeout=PATIENCE
        ) as answer:
            return json.loads(answer.read())["data"]

    until(lambda: [each["health"] for each in asked("targets")["activeTargets"]] == ["up"], lambda: asked("targets"))
    assert {rule["health"] for group in asked("rules")["groups"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert asked("rules")["groups"]


def test_the_profile_of_grafana_starts_both(stack):
    if not stack.images.grafana:
        pytest.skip("no image of Grafana can be had here: EMENDO_GRAFANA_IMAGE names none")
    stack.compose("--profile", "grafana", "up", "--detach", "--no-recreate")
    stack.until_healthy(stack.container("grafana"), stack.container("prometheus"))


@pytest.mark.parametrize("profile", ["prometheus", "grafana"])
def test_podman_compose_reads_the_file_with_its_profiles(started, profile):
    started.compose("config", "--quiet")
    expected = [profile] if profile == "prometheus" else ["grafana", "prometheus"]
    services = started.compose("--profile", profile, "config", "--services").split()
    assert sorted(set(services) - SERVICES) == expected


def test_each_line_of_a_log_is_a_json_object(stack):
    """The last test of this file: processes have started, died, been stopped and gone on by now."""
    for service in ROLES:
        lines = stack.logs(stack.container(service)).splitlines()
        assert [line for line in lines if not _is_object(line)] == [], service
        assert service == "flower" or lines, service


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
