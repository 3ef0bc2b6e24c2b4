"""The end of each script that writes a page of these docs: it writes the page, or with `--check` finds it stale."""

# ruff: noqa: INP001  # for scripts, not a package

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, command: str) -> int:
    """Writes the page; with `--check` among the script's arguments it writes nothing and reports a stale page.

    Args:
        page: where the page stands.
        text: what should stand there.
        command: what to run when it does not.

    Returns:
        The exit code: 1 for a stale page, else 0.
    """
    if "--check" not in sys.argv[1:]:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        return 0
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"docs/reference/{page.name} is stale; run: {command}\n")
    return 1


def cell(text: str) -> str:
    """The text within a table."""
    return " ".join(text.split()).replace("|", "\\|")
