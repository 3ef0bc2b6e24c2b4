"""ops/helm/emendo against the code: its commands, variables, probes, times and names are those that Emendo has."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from emendo_config import GatewaySettings, Settings
from emendo_config.celery_app import create_app
from emendo_config.child_processes import python_module
from emendo_config.queues import QUEUES
from emendo_gateway.admission.kinds import METRICS
from emendo_ops.cli.app import run
from tests.docs.test_compose import (
    CHAT_VARIABLES,
    EMBEDDING_VARIABLES,
    FLOWER_VARIABLES,
    SERVICES,
    VARIABLES,
    cli,
    parse,
)
from tests.support.chart import CHART, EVERYTHING, render

__all__ = ["cli"]  # a fixture

ROOT = CHART.parents[2]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
WORKERS = sorted(VALUES["workers"])
GATEWAY_VARIABLES = set(GatewaySettings.variables())
ROLES = {"gateway": "gateway", "beat": "beat", "flower": "flower"} | {f"worker-{lane}": "worker" for lane in WORKERS}
# Every setting that the chart takes; one of each is given.
ANY = dict.fromkeys(VARIABLES, "1")
SECRET = re.compile(r"(_API_KEY|_PASSWORD|_HEADERS|^EMENDO_(REDIS|CONTROL|BROKER)_URL)$")


@pytest.fixture(scope="module")
def release():
    more = {**EVERYTHING, "workers": {}, "flower": {"enabled": True}}
    return render(more)


@pytest.mark.parametrize("component", ROLES)
def test_every_command_is_one_the_cli_has(release, cli, component):
    container = release.containers()[component]
    assert "command" not in container, "the image's own: emendo"
    parse(cli, container["args"])


def test_each_queue_has_a_worker(release, cli):
    queues = [parse(cli, release.containers()[f"worker-{lane}"]["args"]).params["queues"] for lane in WORKERS]
    assert sorted(",".join(queues).split(",")) == sorted(QUEUES)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    worker = schema["properties"]["workers"]["additionalProperties"]["oneOf"][1]["properties"]
    assert sorted(worker["queues"]["items"]["enum"]) == sorted(QUEUES)
    option = {each.name: each.type for each in cli.get_command(None, "worker").params}["concurrency"]
    assert (worker["concurrency"]["minimum"], worker["concurrency"]["maximum"]) == (option.min, option.max)


@pytest.mark.parametrize("lane", WORKERS)
def test_a_worker_is_asked_as_in_the_compose_file_under_its_own_name(release, cli, lane):
    container = release.containers()[f"worker-{lane}"]
    name = parse(cli, container["args"]).params["name"]
    shell, option, command = container["readinessProbe"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    _, compose = SERVICES["worker-interactive"]["healthcheck"]["test"]
    assert command == f"exec {compose}".replace("$$", "$").replace("interactive@", f"{name}@")
    exec_, program, *arguments = shlex.split(command)
    assert [exec_, program, *arguments[:3]] == ["exec", "python", *python_module("emendo_workers.answers")[1:]]
    assert "livenessProbe" not in container


def test_the_gateway_is_asked_for_its_process_only(release, cli):
    container = release.containers()["gateway"]
    options = parse(cli, container["args"]).params
    (port,) = container["ports"]
    assert (options["host"], options["port"]) == ("0.0.0.0", port["containerPort"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health/live", "port": port["name"]}
    assert METRICS == "/metrics"


def test_flower_answers_where_it_is_asked(release, cli):
    container = release.containers()["flower"]
    options = parse(cli, container["args"]).params
    (port,) = container["ports"]
    assert (options["host"], options["port"]) == ("0.0.0.0", port["containerPort"])
    assert container["readinessProbe"]["tcpSocket"] == {"port": port["name"]}


def test_beat_is_watched_where_it_writes_and_may_write_there(release, cli, tmp_path, monkeypatch):
    """An emptyDir is open to everybody, and beat refuses such a folder. /dev/shm has the sticky bit, here as there."""
    container = release.containers()["beat"]
    directory = parse(cli, container["args"]).params["directory"]
    assert f"find {directory} " in container["livenessProbe"]["exec"]["command"][-1]
    from emendo_client.testing.folders import make_folder
    from emendo_config import ConfigurationError

    (tmp_path / "empty-dir").mkdir()
    (tmp_path / "empty-dir").chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written to by every user"):
        make_folder(tmp_path / "empty-dir" / "beat")
    assert directory.parent == Path("/dev/shm")
    own = directory.with_name(f"emendo-test-{tmp_path.name}")
    try:
        make_folder(own)
    finally:
        own.rmdir()


@pytest.mark.parametrize("component", ROLES)
def test_every_variable_is_a_setting_and_reaches_those_who_need_it(component):
    given = {name: "https://x.example.com" if name.endswith("_BASE_URL") else value for name, value in ANY.items()}
    shown = {name: value for name, value in given.items() if not SECRET.search(name)}
    times = {"EMENDO_DRAIN_BUDGET": "20", "EMENDO_EMBEDDING_TIMEOUT": "20"}
    rendered = render({"settings": shown | times, "flower": {"enabled": True}, "secrets": {"flower": "f"}})
    role = ROLES[component]
    allowed = VARIABLES - EMBEDDING_VARIABLES - CHAT_VARIABLES - GATEWAY_VARIABLES - FLOWER_VARIABLES
    if role in {"worker", "gateway"}:
        allowed |= EMBEDDING_VARIABLES & VARIABLES
    allowed |= {"worker": CHAT_VARIABLES, "gateway": GATEWAY_VARIABLES, "flower": FLOWER_VARIABLES}.get(role, set())
    assert rendered.variables(component).keys() == {name for name in allowed if not SECRET.search(name)}


def test_defaults_and_examples_of_values_are_valid_settings(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    rendered = render({"flower": {"enabled": True, "urlPrefix": "/flower"}, "secrets": {"flower": "f"}})
    for component in ROLES:
        variables = rendered.variables(component)
        assert variables.keys() - {"FLOWER_URL_PREFIX"} <= VARIABLES
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert Settings().log_format == "json"
            GatewaySettings()
    commented = re.findall(r"^#  (EMENDO_\w+):", (CHART / "values.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert commented
    assert set(commented) <= VARIABLES


def test_the_gateway_is_reached_under_the_names_of_its_service(release):
    hosts = GatewaySettings(hosts=release.variables("gateway")["EMENDO_GATEWAY_HOSTS"]).host_names
    service = release.of("Service")["gateway"]["metadata"]["name"]
    assert hosts[:4] == [service, *(f"{service}.memories{end}" for end in ("", ".svc", ".svc.cluster.local"))]
    assert hosts[4:] == ["memories.example.com"]


@pytest.mark.parametrize("component", ROLES)
def test_each_process_has_a_redis_user_of_its_own_role_and_no_others_secrets(release, component):
    role = ROLES[component]
    expected = [VALUES["secrets"]["redis"][role]]
    expected += {"worker": ["embedding-key", "chat-key"], "gateway": ["embedding-key"]}.get(role, [])
    expected += ["flower-password"] if role == "flower" else []
    assert release.secrets(component) == expected


def test_a_secret_is_made_from_the_file_that_the_command_writes(tmp_path):
    assert run(["redis-users", "--prefix", "emendo:", "--out", str(tmp_path / "users")]) == 0
    for role in VALUES["secrets"]["redis"]:
        variable, _, _ = (tmp_path / "users" / f"{role}.env").read_text().partition("=")
        assert variable == "EMENDO_REDIS_URL"


@pytest.mark.parametrize("lane", WORKERS)
def test_a_worker_has_time_to_stop(lane):
    settings = Settings(_env_file=None)
    grace = render().pods()[f"worker-{lane}"]["terminationGracePeriodSeconds"]
    assert grace > create_app(settings).conf.worker_soft_shutdown_timeout
    assert grace > settings.drain_budget + settings.embedding_timeout
    # The checks of the chart know the same defaults.
    helpers = (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    assert f"default {settings.drain_budget:g} $settings.EMENDO_DRAIN_BUDGET" in helpers
    assert f"default {settings.embedding_timeout:g} $settings.EMENDO_EMBEDDING_TIMEOUT" in helpers
    assert f"default {GatewaySettings().shutdown_timeout:g} $settings.EMENDO_GATEWAY_SHUTDOWN_TIMEOUT" in helpers


def test_the_image_is_the_one_of_this_repository(release):
    dockerfile = (ROOT / "ops" / "images" / "Dockerfile").read_text(encoding="utf-8")
    (uid,) = set(re.findall(r"--uid (\d+)", dockerfile))
    assert {str(pod["securityContext"]["runAsUser"]) for pod in release.pods().values()} == {uid}
    assert 'ENTRYPOINT ["emendo"]' in dockerfile
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_command_the_cli_lacks_would_be_noticed(cli):
    with pytest.raises(click.UsageError):
        parse(cli, ["worker", "--queue", "bulk"])
