"""docs/licences.md names every dependency in pyproject.toml, with the licence its installed metadata states."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0] for line in lines}
    return sorted(normal(name) for name in names - {PROJECT["name"]})


def stated() -> dict[str, str]:
    """Licence by package, from the tables above the part about Redis' programs."""
    tables, _, _ = PAGE.partition("\n## Redis and its search module")
    found = {}
    for line in tables.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not set(cells[0]) <= {"-"} and cells[-1] != "licence":
            found[normal(cells[-2].split(" ")[0])] = cells[-1]
    return found


@pytest.mark.parametrize("name", dependencies())
def test_every_dependency_is_on_the_page(name):
    assert name in stated()


def test_the_page_names_nothing_that_is_not_used():
    through_extras = {"hiredis"}  # asked for as redis[hiredis]
    assert set(stated()) - set(dependencies()) - through_extras == set()


def _first_line(name: str, file: str) -> str:
    path = next(path for path in metadata.files(name) or [] if path.match(f"*.dist-info/licenses/{file}"))
    return path.read_text(encoding="utf-8").strip().partition("\n")[0]


@pytest.mark.parametrize("name", sorted(stated()))
def test_the_licence_is_the_one_the_package_states(name):
    package = metadata.metadata(name)
    texts = [
        package.get("License-Expression") or "",
        (package.get("License") or "").partition("\n")[0],
        *(package.get_all("Classifier") or []),
    ]
    if not any(texts[:2]):  # some packages only carry the text
        texts += [_first_line(name, file) for file in package.get_all("License-File") or []]
    family = re.match(r"(Apache|BSD|GPL-2|MIT|MPL|Python Software Foundation)", stated()[name])
    assert family, f"{stated()[name]!r} begins with no known licence"
    assert any(family[1] in text for text in texts), f"{name} states {texts}"


@pytest.mark.parametrize("name", ["redis-server", "redisearch.so", "falkordb.so", "RSALv2", "SSPLv1", "AGPLv3"])
def test_the_programs_inside_the_packages_are_named(name):
    _, _, programs = PAGE.partition("\n## Redis and its search module")
    assert name in programs
