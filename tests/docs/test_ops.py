"""ops/ and the documents against the code: Redis' settings, the image's files, the variables' names."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from packaging.requirements import Requirement

from emendo_client.testing.embedded_redis import SERVER_OPTIONS, EmbeddedRedis
from emendo_client.testing.redis_servers import find_server
from emendo_config import GatewaySettings, Settings
from emendo_ops.cli.conformance import conformance

ROOT = Path(__file__).resolve().parents[2]
REDIS_CONF = ROOT / "ops" / "redis" / "redis.conf"
DOCKERFILE = ROOT / "ops" / "images" / "Dockerfile"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Settings that decide whether an accepted job survives, and the size of a memory.
DECISIVE = sorted({"appendonly", "appendfsync", "maxmemory-policy", "stream-node-max-bytes", "save", *SERVER_OPTIONS})

# Variables that are not settings: read by docker-compose.yml itself.
NOT_SETTINGS = {f"EMENDO_{name}_IMAGE" for name in ("PYTHON", "REDIS", "PROMETHEUS", "GRAFANA")} | {
    "EMENDO_IMAGE_EXTRAS",
    "EMENDO_INTERACTIVE_WORKERS",
}


def settings_of(connection: redis.Redis) -> dict[str, str]:
    return {name: connection.config_get(name)[name] for name in DECISIVE}


@pytest.fixture(scope="module")
def with_redis_conf() -> Iterator[dict[str, str]]:
    """The decisive settings of a real Redis that was started with ops/redis/redis.conf."""
    with tempfile.TemporaryDirectory(prefix="emendo-") as directory:
        socket = f"{directory}/redis.sock"
        program = find_server().argv[0]
        command = [program, str(REDIS_CONF), "--port", "0", "--unixsocket", socket, "--dir", directory]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            while not Path(socket).exists():
                if process.poll() is not None:
                    pytest.fail(f"redis.conf is refused: {process.stdout.read()}")
                time.sleep(0.01)
            with redis.Redis(unix_socket_path=socket, decode_responses=True) as connection:
                yield settings_of(connection)
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The decisive settings of the embedded Redis."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("embedded")) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as connection,
    ):
        yield settings_of(connection)


@pytest.mark.parametrize("name", DECISIVE)
def test_the_container_has_the_embedded_servers_settings(with_redis_conf, embedded, name):
    assert with_redis_conf[name] == embedded[name]


def test_both_keep_what_was_accepted(with_redis_conf):
    assert with_redis_conf["appendonly"] == "yes"
    assert with_redis_conf["appendfsync"] in {"everysec", "always"}
    assert with_redis_conf["maxmemory-policy"] == "noeviction"


def instructions() -> list[list[str]]:
    joined = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def copied() -> set[str]:
    """Paths the Dockerfile takes from the repository."""
    return {
        source.rstrip("/")
        for keyword, *words in instructions()
        if keyword == "COPY" and not words[0].startswith("--from")
        for source in words[:-1]
    }


def test_the_image_copies_what_exists_and_nothing_more_is_let_through():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert let_through == copied()
    assert [path for path in sorted(copied()) if not (ROOT / path).exists()] == []


def test_the_image_copies_what_the_package_is_built_from():
    project, build = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"]}
    needed |= set(build["targets"]["wheel"].get("force-include", ()))
    missing = [
        name
        for name in [*needed, *packages]
        if not any(name == each or name.startswith(f"{each}/") for each in copied())
    ]
    assert missing == []


def test_the_image_installs_extras_that_exist_and_runs_the_command_that_exists():
    text = DOCKERFILE.read_text(encoding="utf-8")
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    named = re.findall(r"(?:EXTRAS(?:=|:-|: \$\{EMENDO_IMAGE_EXTRAS:-))([a-z,]+)", text + compose_text())
    assert named
    assert {extra for names in named for extra in names.split(",")} <= extras
    # Each service, and each setting of theirs, needs no other image. `worker` brings `cli`.
    defaults = {names for names in named if "local" not in names}
    assert [set(names.split(",")) for names in defaults] == [extras - {"all", "cli", "dev", "local"}]
    (entrypoint,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', text, re.MULTILINE)
    assert entrypoint in PYPROJECT["project"]["scripts"]


def pinned(path: str) -> set[str]:
    """The packages of a lock, each with its version, without the hashes."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return {re.sub(r"\[.*\]", "", line.split(" ")[0]) for line in lines if "==" in line}


def test_the_image_is_built_of_what_is_tested_and_of_no_tool_for_development():
    with_local, without = pinned("ops/images/with-local.lock"), pinned("ops/images/requirements.lock")
    assert without < with_local < pinned("requirements.lock")
    names = {each.partition("==")[0] for each in with_local}
    extras = PYPROJECT["project"]["optional-dependencies"]
    asked = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["build-system"]["requires"]]
    asked += [line for name in ("cli", "worker", "gateway", "flower", "traces", "local") for line in extras[name]]
    # A wheel that is missing here would be missed when the image is built.
    assert {Requirement(line).name for line in asked} - {"emendo"} <= names
    assert not names & {"pytest", "mypy", "ruff", "matplotlib"}


def test_the_image_does_not_run_as_root():
    users = [words for keyword, *words in instructions() if keyword == "USER"]
    assert users
    assert users[-1] not in (["root"], ["0"])


def compose_text() -> str:
    return (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def documents() -> list[Path]:
    folders = [path for folder in ("ops", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    written = [path for path in folders if path.suffix != ".pyc" and "emendo_ops" not in path.parts]
    return [ROOT / "docker-compose.yml", ROOT / "README.md", *written]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_named_is_one_the_code_reads(path):
    known = {*Settings.variables(), *GatewaySettings.variables(), *NOT_SETTINGS}
    known |= {str(option.envvar) for option in conformance.params if option.envvar}
    known |= {"EMENDO_HYPOTHESIS_PROFILE"}  # read by the tests themselves
    named = set(re.findall(r"\bEMENDO_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8", errors="replace")))
    assert named - known == set()
