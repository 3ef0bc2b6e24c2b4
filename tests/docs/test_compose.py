"""docker-compose.yml against what it names: the compose specification, the CLI, the settings, the files.

No container runs here; these tests keep the file from drifting away from the code.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import click
import jsonschema
import pytest
import yaml

from emendo_config import GatewaySettings, Settings
from emendo_config.celery_app import create_app
from emendo_config.child_processes import environment_for, python_module
from emendo_config.queues import QUEUES
from emendo_config.redis_users import Names, rights_of
from emendo_ops.cli.app import run
from tests.support.command_line import parse

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "emendo:local")

COMMON, EMBEDDING, PROVIDERS = (f"ops/compose/{name}.env" for name in ("common", "embedding", "providers"))


@pytest.fixture(scope="module")
def cli():
    """The `emendo` command, as the entry point in pyproject.toml names it."""
    from emendo_ops.cli import app

    groups = [value for value in vars(app).values() if isinstance(value, click.Group)]
    assert len(groups) == 1, f"which one is the command? {groups}"
    return groups[0]


def seconds(duration: str) -> int:
    (amount,) = re.fullmatch(r"(\d+)s", duration).groups()
    return int(amount)


def test_it_follows_the_compose_specification():
    schema_file = resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
    schema = json.loads(schema_file.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)]
    assert not problems
    # The schema does tell wrong from right.
    assert list(validator.iter_errors({**COMPOSE, "services": {"redis": {"imagee": "redis:8"}}}))


def test_the_services_are_the_documented_ones():
    optional = {"prometheus": ["prometheus", "grafana"], "grafana": ["grafana"]}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == optional
    always = {"redis", "worker-interactive", "worker-bulk", "beat", "flower", "gateway"}
    assert set(SERVICES) == {*always, *optional}
    assert set(OURS) == always - {"redis"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["worker-interactive"]


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_the_cli_has(cli, name):
    parse(cli, SERVICES[name]["command"])


def test_a_command_the_cli_lacks_is_noticed(cli):
    with pytest.raises(click.UsageError):
        parse(cli, ["worker", "--no-such-option", "1"])
    with pytest.raises(click.UsageError):
        parse(cli, ["no-such-command"])


def test_every_queue_has_a_worker():
    queues = [
        queue
        for name in OURS
        for flag, value in zip(SERVICES[name]["command"], SERVICES[name]["command"][1:], strict=False)
        if flag == "--queues"
        for queue in value.split(",")
    ]
    assert sorted(queues) == sorted(QUEUES)


def published(name: str) -> list[tuple[str, int, int]]:
    """(address, host port, container port) of everything a service publishes."""
    found = []
    for port in SERVICES[name].get("ports", []):
        address, host, container = port.split(":")
        found.append((address, int(host), int(container)))
    return found


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_the_loopback_address_only(name):
    assert {address for address, _, _ in published(name)} <= {"127.0.0.1"}


@pytest.mark.parametrize("name", ["flower", "gateway"])
def test_a_web_port_is_the_same_wherever_it_is_named(cli, name):
    options = parse(cli, SERVICES[name]["command"]).params
    ((_, host_port, container_port),) = published(name)
    (checked,) = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(SERVICES[name]["healthcheck"]["test"]))
    default = {option.name: option.default for option in cli.get_command(None, name).params}["port"]
    assert options["host"] == "0.0.0.0"  # or nobody outside the container reaches it
    assert {host_port, container_port, int(checked), options["port"]} == {default}


def test_redis_has_the_port_the_settings_expect():
    default = urlsplit(Settings.model_fields["redis_url"].default).port
    assert published("redis") == [("127.0.0.1", default, default)]


USERS = "ops/compose/redis-users"
ROLE_OF = {"worker-interactive": "worker", "worker-bulk": "worker", "beat": "beat", "flower": "flower"}
ROLE_OF |= {"gateway": "gateway"}


@pytest.mark.parametrize("name", OURS)
def test_each_service_has_a_redis_user_of_its_own_role(name, tmp_path):
    """The URL comes from the file that `emendo redis-users` writes, and from nowhere else."""
    assert f"{USERS}/{ROLE_OF[name]}.env" in [each["path"] for each in SERVICES[name]["env_file"]]
    assert "EMENDO_REDIS_URL" not in SERVICES[name].get("environment", {})
    assert run(["redis-users", "--prefix", "emendo:", "--out", str(tmp_path / "users")]) == 0
    variable, _, value = (tmp_path / "users" / f"{ROLE_OF[name]}.env").read_text().strip().partition("=")
    url = urlsplit(value)
    assert (variable, url.username, url.hostname) == ("EMENDO_REDIS_URL", ROLE_OF[name], "redis")
    assert url.port == urlsplit(Settings.model_fields["redis_url"].default).port
    Settings(redis_url=value)


def test_redis_reads_the_users_and_checks_its_health_as_one_of_them():
    redis = SERVICES["redis"]
    assert f"./{USERS}/users.acl:{redis['command'][-1]}:ro" in redis["volumes"]
    assert redis["command"][-2] == "--aclfile"
    check = redis["healthcheck"]["test"]
    user = check[check.index("--user") + 1]
    assert "ft._list" in rights_of(user, Names.of("emendo:")).commands
    assert redis["env_file"] == [{"path": f"{USERS}/redis.env", "required": True}]


def test_no_service_starts_before_redis_answers():
    assert "healthcheck" in SERVICES["redis"]
    for name in OURS:
        assert SERVICES[name]["depends_on"]["redis"]["condition"] == "service_healthy"


VARIABLES = {*Settings.variables(), *GatewaySettings.variables()}
FLOWER_VARIABLES = {name for name in VARIABLES if name.startswith("EMENDO_FLOWER_")}
EMBEDDING_VARIABLES = {name for name in VARIABLES if name.startswith("EMENDO_EMBEDDING_")} | {"OPENAI_API_KEY"}
CHAT_VARIABLES = {name for name in VARIABLES if name.startswith("EMENDO_CHAT_")}


@pytest.mark.parametrize("name", OURS)
def test_settings_come_from_files_and_providers_keys_reach_only_those_who_ask_them(name):
    """The files follow what `emendo up` gives each process: the gateway embeds queries, and has no chat model."""
    providers = {"worker": [EMBEDDING, PROVIDERS], "gateway": [EMBEDDING]}.get(ROLE_OF[name], [])
    expected = [{"path": path, "required": False} for path in (COMMON, *providers)]
    expected.append({"path": f"{USERS}/{ROLE_OF[name]}.env", "required": True})
    assert SERVICES[name]["env_file"] == expected


@pytest.mark.parametrize("name", OURS)
def test_only_flower_gets_its_password_and_no_service_a_fixed_secret(name):
    passed_on = set(SERVICES[name].get("environment", {}))
    assert passed_on == {"flower": FLOWER_VARIABLES, "gateway": {"EMENDO_GATEWAY_HOSTS"}}.get(name, set())


def example(path: str) -> dict[str, str]:
    """The assignments of a settings file's example, all of them commented out."""
    lines = (ROOT / f"{path}.example").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") or not line for line in lines), "a copy changes nothing by itself"
    return dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", "\n".join(lines), re.MULTILINE))


def test_each_example_has_settings_of_its_readers_only():
    assert example(COMMON).keys() <= VARIABLES - FLOWER_VARIABLES - EMBEDDING_VARIABLES - CHAT_VARIABLES - {
        "EMENDO_REDIS_URL"
    }
    assert example(EMBEDDING).keys() <= EMBEDDING_VARIABLES
    assert "OPENAI_API_KEY" in example(EMBEDDING)
    assert example(PROVIDERS).keys() <= CHAT_VARIABLES


@pytest.mark.parametrize("role", sorted({*ROLE_OF.values()}))
def test_a_role_may_read_the_settings_that_its_files_hold(role, monkeypatch):
    """A process that `emendo up` starts gets the same variables of providers as the service of its role."""
    for name in EMBEDDING_VARIABLES | CHAT_VARIABLES:
        monkeypatch.setenv(name, "x")
    given = environment_for(role).keys() & (EMBEDDING_VARIABLES | CHAT_VARIABLES)
    files = {each["path"] for name in OURS if ROLE_OF[name] == role for each in SERVICES[name]["env_file"]}
    assert bool(given & EMBEDDING_VARIABLES) == (EMBEDDING in files)
    assert bool(given & CHAT_VARIABLES) == (PROVIDERS in files)


def test_the_values_of_the_examples_are_valid():
    values = {**example(COMMON), **example(EMBEDDING), **example(PROVIDERS)}
    Settings(**{name.removeprefix("EMENDO_").lower(): value for name, value in values.items() if name in VARIABLES})


@pytest.mark.parametrize("path", [".env", COMMON, EMBEDDING, PROVIDERS, f"{USERS}/users.acl", f"{USERS}/worker.env"])
def test_a_file_with_secrets_is_never_committed(path):
    ignored = [re.escape(line).replace(r"\*", "[^/]*") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert any(re.fullmatch(line, path) for line in ignored)


def test_flower_does_not_start_without_a_password():
    assert re.fullmatch(
        r"\$\{EMENDO_FLOWER_PASSWORD:\?.+\}", SERVICES["flower"]["environment"]["EMENDO_FLOWER_PASSWORD"]
    )


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("worker-")])
def test_a_worker_has_time_to_stop(name):
    settings = Settings(_env_file=None)
    soft_shutdown = create_app(settings).conf.worker_soft_shutdown_timeout
    grace = seconds(SERVICES[name]["stop_grace_period"])
    assert grace > soft_shutdown
    assert grace > settings.drain_budget + settings.embedding_timeout  # a drain ends its round within these


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_watched_restarted_and_bounded(name):
    service = SERVICES[name]
    check = service["healthcheck"]
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert seconds(service["stop_grace_period"]) >= 10
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", sorted({*SERVICES} - {"grafana"}))
def test_a_service_writes_to_its_volumes_and_tmp_only(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service.get("tmpfs", []) == (["/tmp"] if name in OURS else [])


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("worker-")])
def test_a_worker_is_asked_under_its_own_name(cli, name):
    kind, command = SERVICES[name]["healthcheck"]["test"]
    *words, destination = shlex.split(command)
    # As `emendo worker` itself, and not from the current folder.
    assert (kind, words) == ("CMD-SHELL", ["python", *python_module("emendo_workers.answers")[1:]])
    assert find_spec("emendo_workers.answers")
    own_name = parse(cli, SERVICES[name]["command"]).params["name"]
    assert destination == f"{own_name}@$$(hostname)"


def test_beat_is_watched_where_it_writes(cli):
    directory = parse(cli, SERVICES["beat"]["command"]).params["directory"]
    assert f"find {directory} " in SERVICES["beat"]["healthcheck"]["test"][1]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_path_exists(name):
    service = SERVICES[name]
    if "build" in service:
        build = service["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith(f"./{USERS}/"):
            continue  # made by emendo redis-users
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source


def test_redis_reads_the_file_that_is_mounted():
    targets = [volume.split(":")[1] for volume in SERVICES["redis"]["volumes"]]
    assert SERVICES["redis"]["command"][1] in targets
