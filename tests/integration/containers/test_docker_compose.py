"""docker-compose.yml for real: the image is built, every service runs, is used, scaled, killed and stopped.

One test, since one stack serves all of it. Its commands are those of ops/README.md, in their order.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.containers import clients, provider
from tests.support.containers.compose import USERS, Stack
from tests.support.containers.machine import Machine, what_is_missing
from tests.support.containers.stand_ins import build_stand_ins, have_debian
from tests.support.patience import until
from tests.support.shell_lines import Shell, blocks, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

SECTION = "## Starting it"
PARTS = "stand-ins"
OURS = {
    "worker-interactive": "worker",
    "worker-bulk": "worker",
    "beat": "beat",
    "flower": "flower",
    "gateway": "gateway",
}
_FORBIDDEN = """
import os, redis
try:
    redis.Redis.from_url(os.environ["EMENDO_REDIS_URL"]).execute_command("FLUSHALL")
except redis.exceptions.NoPermissionError:
    print("refused")
"""
# A request from the machine of the containers, as from an operator's browser: the status and the body.
_FETCH = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": sys.argv[2]} if len(sys.argv) > 2 else {})
try:
    answer = urllib.request.urlopen(request, timeout=60)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.status, answer.read().decode())
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    # Short, since podman's sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="emendo-"))
    with Machine(folder) as made:
        problem = have_debian(made, folder / PARTS)
        if problem is not None:
            pytest.skip(f"no containers run here: {problem}")
        yield made
    assert not folder.exists()


def fetch(machine: Machine, url: str, *login: str) -> tuple[int, str]:
    status, _, body = machine.run([sys.executable, "-c", _FETCH, url, *login]).stdout.partition(" ")
    return int(status), body


def test_the_whole_system_in_containers(machine, tmp_path):
    images = build_stand_ins(machine, machine.folder / PARTS)
    stack = Stack(machine, tmp_path / "checkout")
    starting, operating, running = (commands(block) for block in blocks("ops/README.md", "sh", SECTION))
    users, copy, password, build, up, ps = starting
    operator, doctor, create_key = operating
    scale, logs, stop, start, with_prometheus, down = running
    outside = Shell(stack.folder, machine.environment, machine.within(stack.folder, outer_network=True))
    with outside:
        for line in (users, copy, password, build):
            outside.run(line)
    with (stack.folder / "ops/compose/embedding.env").open("a") as settings:
        settings.write(f"EMENDO_EMBEDDING_BASE_URL=http://openai:{provider.PORT}/v1\nEMENDO_EMBEDDING_API_KEY=any\n")
    with Shell(stack.folder, machine.environment, machine.within(stack.folder)) as shell:
        shell.run(up)
        stack.start_provider()
        stack.until_healthy()
        assert "emendo_gateway_1" in shell.run(ps)
        shell.run(operator)
        shell.run(doctor)
        (key,) = re.findall(r"^em_\S+$", shell.run(create_key), re.MULTILINE)

        stack.client("app", "story", key)
        the_image_is_small_and_has_no_secret(stack)
        each_service_is_bounded(stack)
        each_service_has_its_own_redis_user(stack)
        ports_are_open_on_loopback_only(stack)
        flower_asks_for_its_login(stack)

        shell.run(scale)
        until(lambda: workers(stack) == 4, lambda: f"{workers(stack)} workers")
        whoever_is_killed_comes_back(stack)
        workers_that_are_stopped_leave_nothing_behind(stack, shell, stop, start)
        logs_are_json_without_a_password(stack, shell.run(logs))
        if "prom/prometheus" in images:
            prometheus_scrapes_the_gateway(stack, shell, with_prometheus)
        the_profiles_are_whole(stack, shell)
        shell.run(down)
    assert [each["Name"] for each in stack.containers() if each["Name"] != "openai"] == []


def the_image_is_small_and_has_no_secret(stack: Stack) -> None:
    (image,) = json.loads(stack.machine.podman("image", "inspect", "emendo:local"))
    (base,) = json.loads(stack.machine.podman("image", "inspect", "python:3.12-slim"))
    assert image["Size"] - base["Size"] < 300_000_000
    assert image["Config"]["User"] == "emendo"
    installers = stack.inside("gateway", "sh", "-c", "command -v pip emendo; find / -name '*.env' -not -path '/proc/*'")
    assert installers.stdout.split() == ["/opt/emendo/bin/emendo"]


def each_service_is_bounded(stack: Stack) -> None:
    """The kernel says it of the first process; the file only asks for it."""
    for service in (*OURS, "redis"):
        status = dict(
            line.split(":\t", 1) for line in stack.inside(service, "cat", "/proc/1/status").stdout.splitlines()
        )
        assert set(status["Uid"].split()) == {"999" if service == "redis" else "10001"}
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[kind], 16) == 0, f"{service} has capabilities: {kind} {status[kind]}"
        assert status["NoNewPrivs"] == "1"
        refused = stack.inside(service, "sh", "-c", "echo x > $HOME/x", check=False)
        assert "Read-only file system" in refused.stderr, f"{service} writes to its root: {refused.stderr}"
        facts = stack.containers(service)[0]["HostConfig"]
        assert facts["PidsLimit"] == 256
        assert facts["LogConfig"]["Size"] == "10MB"


def each_service_has_its_own_redis_user(stack: Stack) -> None:
    for service, role in OURS.items():
        url = stack.inside(service, "printenv", "EMENDO_REDIS_URL").stdout
        assert url.startswith(f"redis://{role}:")
        assert stack.inside(service, "python", "-c", _FORBIDDEN).stdout == "refused\n"
    # Without a user nobody is let in; the health check's own password must not be tried.
    nobody = stack.inside("redis", "env", "--unset=REDISCLI_AUTH", "redis-cli", "PING", check=False)
    assert "NOAUTH" in nobody.stdout + nobody.stderr


def ports_are_open_on_loopback_only(stack: Stack) -> None:
    opened = stack.machine.run(["ss", "--listening", "--tcp", "--no-header", "--numeric"]).stdout
    addresses = {line.split()[3] for line in opened.splitlines()}
    assert {f"127.0.0.1:{port}" for port in (6379, 5555, 8080)} <= addresses
    # The network's own name server is the only one at another address.
    assert {each.rpartition(":")[2] for each in addresses if not each.startswith("127.0.0.1:")} <= {"53"}


def flower_asks_for_its_login(stack: Stack) -> None:
    address = "http://127.0.0.1:5555/api/workers"
    assert fetch(stack.machine, address)[0] == 401
    password = (stack.folder / ".env").read_text().strip().partition("=")[2]
    login = b64encode(f"emendo:{password}".encode()).decode()
    status, body = fetch(stack.machine, address, f"Basic {login}")
    assert status == 200
    assert {name.partition("@")[0] for name in json.loads(body)} == {"interactive", "bulk"}


def workers(stack: Stack) -> int:
    """The living workers, as the gateway sees them from the machine of the containers."""
    found: int = json.loads(fetch(stack.machine, "http://127.0.0.1:8080/health")[1])["workers"]
    return found


def whoever_is_killed_comes_back(stack: Stack) -> None:
    stack.client("app", "storm", "killed")
    for each in (*stack.containers("worker-interactive")[:2], *stack.containers("redis")):
        name = each["Name"]
        stack.machine.kill(each["State"]["Pid"])
        until(lambda name=name, before=each: stack.restarted(name, before), f"{name} does not come back")
    stack.until_healthy()
    stack.client("app", "finished", "killed")


def workers_that_are_stopped_leave_nothing_behind(stack: Stack, shell: Shell, stop: str, start: str) -> None:
    """Some of their jobs are done, the others wait; none is lost, none has failed, and no lock is left."""
    stack.client("app", "storm", "stopped")
    shell.run(stop)
    further = [each["Name"] for each in stack.containers("worker-interactive")[1:]]
    if further:  # podman-compose stops none that --scale added
        stack.machine.podman("stop", "--time=60", *further)
    stopped = stack.containers("worker-interactive") + stack.containers("worker-bulk")
    assert len(stopped) == 4
    assert {(each["State"]["Status"], each["State"]["ExitCode"]) for each in stopped} == {("exited", 0)}
    states = json.loads(stack.client("app", "states", "stopped"))
    assert sum(states.values()) == clients.STORM
    assert states.keys() <= {"queued", "retrying", "succeeded"}, states
    assert stack.client("worker", "left_behind", "stopped") == "[]\n"
    shell.run(start)
    stack.client("app", "finished", "stopped")


def logs_are_json_without_a_password(stack: Stack, shown: str) -> None:
    assert '"time": ' in shown
    secrets = [
        line.partition("=")[2].rpartition("@")[0].rpartition(":")[2]
        for file in (stack.folder / USERS).glob("*.env")
        for line in file.read_text().splitlines()
        if "@" in line
    ]
    assert len(secrets) > 5
    for service in OURS:
        for each in stack.containers(service):
            written = stack.machine.run(["podman", "logs", each["Name"]])
            lines = [line for line in (written.stdout + written.stderr).splitlines() if line.strip()]
            assert lines
            for line in lines:
                assert json.loads(line)["event"], f"{service}: {line}"
            assert not [secret for secret in secrets if secret in written.stdout + written.stderr]


def prometheus_scrapes_the_gateway(stack: Stack, shell: Shell, line: str) -> None:
    shell.run(line)
    (prometheus,) = stack.containers("prometheus")
    until(lambda: stack.is_healthy(prometheus["Name"]), "Prometheus is not ready")
    query = "http://127.0.0.1:9090/api/v1/query?query=emendo_workers"
    until(lambda: json.loads(fetch(stack.machine, query)[1])["data"]["result"], "Prometheus has nothing of the gateway")


def the_profiles_are_whole(stack: Stack, shell: Shell) -> None:
    """No Grafana can be had here, so its part of the file is read only."""
    read = yaml.safe_load(shell.run("docker compose --profile grafana config"))
    assert {"prometheus", "grafana"} <= read["services"].keys()
    for volume in read["services"]["grafana"]["volumes"]:
        source = volume.partition(":")[0]
        assert not source.startswith(".") or (stack.folder / source).is_dir(), source
