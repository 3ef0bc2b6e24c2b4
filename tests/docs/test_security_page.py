"""docs/security.md has every part that a reader looks for, and names the tests of each subject."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PARTS = [
    "Assets",
    "Boundaries",
    "Roles",
    "Projects",
    "Connections",
    "Redis users",
    "Messages of the broker",
    "Flower",
    "The local machine",
    "Models that are talked into things",
    "Limits",
    "What logs and errors may hold",
    "Supply chain",
    "Promised, and not promised",
    "Where it is tested",
    "How to report",
]


def test_no_part_is_missing_or_out_of_order():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [heading for heading in headings if heading in PARTS] == PARTS


def test_each_subject_names_its_tests():
    _, _, table = PAGE.partition("\n## Where it is tested\n")
    rows = re.findall(r"^\| (\d+) \| .+ \| `test_\w+`.* \|$", table, re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 14))


def test_every_test_that_the_page_names_exists():
    _, _, table = PAGE.partition("\n## Where it is tested\n")
    cells = [row.split("|")[-2] for row in re.findall(r"^\| .+ \|$", table, re.MULTILINE)]
    named = [name for cell in cells for name in re.findall(r"`([\w/.]*test_\w+(?:\.py)?)`", cell)]
    paths = {name: ROOT / (name if "/" in name else f"tests/security/{name}.py") for name in named}
    assert len(paths) > 20
    assert [name for name, path in paths.items() if not path.is_file()] == []


def test_every_test_of_attacks_is_named_on_the_page():
    _, _, table = PAGE.partition("\n## Where it is tested\n")
    there = {path.stem for path in (ROOT / "tests" / "security").glob("test_*.py")}
    assert there - set(re.findall(r"`(test_\w+)`", table)) == set()


def test_a_report_goes_a_private_way_and_no_address_is_invented():
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "private vulnerability report" in policy
    assert not re.search(r"\S+@\S+|https?://", policy)
