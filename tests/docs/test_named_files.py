"""Every file, module and link that a page of the documentation names exists."""

from __future__ import annotations

import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "ops/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LISTED = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
)
TRACKED = [f"/{path}" for path in LISTED.stdout.split("\0") if path and (ROOT / path).exists()]

SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|lua|md|yml|txt|conf|toml|jsonl)|(?:[\w.-]+/)+")
MODULE = re.compile(r"emendo_(?:config|client|gateway|workers|ops)(?:\.\w+)+")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def spans(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return SPAN.findall(text)


def is_there(name: str) -> bool:
    """Whether a tracked path ends with `name`; a name that ends with `/` is a folder."""
    name = name.removeprefix("../")
    if name.endswith("/"):
        return any(f"/{name}" in path for path in TRACKED)
    return any(path.endswith(f"/{name}") for path in TRACKED)


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_check_sees_what_is_missing():
    assert is_there("intake/drain.py")
    assert is_there("docs/how-to/")
    assert not is_there("intake/bell.py")
    assert not is_there("rain.py")
    assert resolves("emendo_client.MemoryClient")
    assert resolves("emendo_client.testing.fixtures")
    assert not resolves("emendo_client.records.nothing")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_named_exists(page):
    files = {file for span in spans(page) if FILE.fullmatch(file := span.partition("::")[0])}
    assert sorted(file for file in files if not is_there(file)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_script_named_exists_in_drawings_too(page):
    scripts = set(re.findall(r"[\w/]+\.lua\b", page.read_text(encoding="utf-8")))
    assert sorted(script for script in scripts if not is_there(script)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_module_named_exists(page):
    dotted = {match for span in spans(page) for match in MODULE.findall(span)}
    assert sorted(module for module in dotted if not resolves(module)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    links = {link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link}
    assert sorted(link for link in links if not (page.parent / link).exists()) == []


def test_the_glossary_names_a_file_for_each_term():
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| `([^`|]+)` \|$", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE
    )
    terms = [term for term, _, _ in rows]
    assert len(terms) >= 25
    assert terms == sorted(terms)
