"""The lock files against constraints.txt and pyproject.toml: after a change of these, run `make lock`."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Each lock file, and the file that chooses its versions.
LOCKS = {
    "requirements.lock": "constraints.txt",
    "tests/support/web/servers.lock": "tests/support/web/servers.txt",
    "tests/support/mem0/clients.lock": "tests/support/mem0/clients.txt",
    "tools/supply-chain.lock": "tools/supply-chain.txt",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: str) -> dict[str, tuple[str, list[str]]]:
    """(version, hashes) by package of a lock file, or of constraints.txt, which has no hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "--only-binary :all:")):
            requirement, *hashes = line.split("--hash=")
            parsed = Requirement(requirement.strip())
            (specifier,) = parsed.specifier
            assert specifier.operator == "=="
            found[normal(parsed.name)] = (specifier.version, [each.strip() for each in hashes])
    return found


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_pins_every_wheel_by_hash_and_names_no_place(path):
    locked = pins(path)
    assert len(locked) > 10
    assert all(hashes for _, hashes in locked.values())
    assert {
        each for _, hashes in locked.values() for each in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", each)
    } == set()
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "://" not in text
    assert text.startswith("--only-binary :all:\n")  # nothing is built, so no code runs while packages are installed


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_has_the_versions_of_its_source(path):
    locked = {name: version for name, (version, _) in pins(path).items()}
    chosen = {name: version for name, (version, _) in pins(LOCKS[path]).items()}
    assert {name: locked.get(name) for name in chosen} == chosen, "run make lock"


def test_the_lock_has_no_version_that_constraints_does_not_choose():
    assert pins("requirements.lock").keys() - pins("constraints.txt").keys() == set(), "add these to constraints.txt"


def test_the_lock_has_every_dependency_for_every_machine():
    locked = pins("requirements.lock")
    extras = PROJECT["optional-dependencies"].values()
    asked = [Requirement(line) for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]]
    for requirement in (each for each in asked if each.name != PROJECT["name"]):
        assert normal(requirement.name) in locked, f"{requirement}: run make lock"
        version, hashes = locked[normal(requirement.name)]
        assert requirement.specifier.contains(version), requirement
        assert hashes
    # A compiled package has one wheel for each system, machine and Python.
    assert len(locked["numpy"][1]) > 20


def test_what_is_installed_here_is_what_the_lock_names():
    locked = pins("requirements.lock")
    for distribution in metadata.distributions():
        name = normal(distribution.metadata["Name"])
        if name in locked and name in {normal(Requirement(line).name) for line in PROJECT["dependencies"]}:
            assert distribution.version == locked[name][0], name
