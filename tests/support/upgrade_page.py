"""docs/how-to/upgrade.md: its sections, and the numbered lines of its two lists."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "upgrade.md").read_text(encoding="utf-8")
_NEXT_LINE = r"(?:\n(?![0-9]|\n).*)*"


def section(title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no section {title!r}"
    return found.group(1)


def numbered(title: str) -> list[str]:
    """The numbered lines of a section, each as one line without its number."""
    found = re.findall(rf"^([0-9]+)\. (.*{_NEXT_LINE})", section(title), re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1)), "the numbers have gaps"
    return [" ".join(words.split()) for _, words in found]
