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
from celery.bin.celery import celery as celery_cli

from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.queues import QUEUES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)

# Passed on besides the settings.
NOT_SETTINGS = {"OPENAI_API_KEY"}


@pytest.fixture(scope="module")
def cli():
    """The `emendo` command, as the entry point in pyproject.toml names it."""
    import emendo_client.cli

    groups = [value for value in vars(emendo_client.cli).values() if isinstance(value, click.Group)]
    assert len(groups) == 1, f"which one is the command? {groups}"
    return groups[0]


def parse(group: click.Command, arguments: list[str]) -> click.Context:
    """Parses as the command line would, subcommands too, and runs nothing; a wrong option raises UsageError."""
    context = group.make_context(group.name, list(arguments), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


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
    assert set(SERVICES) == {"redis", "worker-interactive", "worker-bulk", "beat", "flower", "gateway"}
    assert set(OURS) == set(SERVICES) - {"redis"}


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
    (url,) = re.findall(r"http://[^']+", " ".join(SERVICES[name]["healthcheck"]["test"]))
    default = {option.name: option.default for option in cli.get_command(None, name).params}["port"]
    assert options["host"] == "0.0.0.0"  # or nobody outside the container reaches it
    assert {host_port, container_port, urlsplit(url).port, options["port"]} == {default}


def test_redis_has_the_port_the_settings_expect():
    default = urlsplit(Settings.model_fields["redis_url"].default).port
    assert published("redis") == [("127.0.0.1", default, default)]
    for name in OURS:
        url = urlsplit(SERVICES[name]["environment"]["EMENDO_REDIS_URL"])
        assert (url.hostname, url.port) == ("redis", default)
        Settings(redis_url=url.geturl())


def test_no_service_starts_before_redis_answers():
    assert "healthcheck" in SERVICES["redis"]
    for name in OURS:
        assert SERVICES[name]["depends_on"]["redis"]["condition"] == "service_healthy"


def test_every_setting_reaches_who_needs_it():
    variables = {f"EMENDO_{field.upper()}" for field in Settings.model_fields}
    flower = {name for name in variables if name.startswith("EMENDO_FLOWER_")}
    providers = {name for name in variables if name.startswith(("EMENDO_EMBEDDING_", "EMENDO_CHAT_"))} | NOT_SETTINGS
    common = variables - flower - providers
    for name in OURS:
        extra = providers if name.startswith("worker-") else flower if name == "flower" else set()
        assert set(SERVICES[name]["environment"]) == common | extra, name


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


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("worker-")])
def test_a_worker_is_asked_under_its_own_name(cli, name):
    kind, command = SERVICES[name]["healthcheck"]["test"]
    program, *arguments = shlex.split(command)
    assert (kind, program, arguments[:2]) == ("CMD-SHELL", "celery", ["-A", "emendo_workers.app"])
    assert find_spec("emendo_workers.app")
    assert parse(celery_cli, arguments[2:]).info_name == "inspect"
    destination = arguments[arguments.index("--destination") + 1]
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
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source


def test_redis_reads_the_file_that_is_mounted():
    targets = [volume.split(":")[1] for volume in SERVICES["redis"]["volumes"]]
    assert SERVICES["redis"]["command"][1] in targets
