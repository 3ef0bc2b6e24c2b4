"""The pages that are made from the code are fresh, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emendo_config import Keys
from tests.support.command_line import commands

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["cli", "http", "keys", "metrics", "settings"])
def test_the_page_is_fresh(name):
    script = DOCS / f"generate_{name}.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_command_has_a_section():
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#{2,4} (emendo .+)$", page, re.MULTILINE)
    assert headings == [context.command_path for context in commands()]


def test_each_kind_of_key_has_a_row():
    page = (DOCS / "reference" / "keys.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(emendo:\S.*?)` \|", page, re.MULTILINE)
    ways_back = {"memory_id", "conflict_memory", "listed_project"}
    beginnings = {name for name in vars(Keys) if name.endswith(("prefix", "_pattern"))} | {
        "job_channels",
        "gateway_rates",
    }
    indexes = {"index_alias", "index", "open_index", "is_index", "neighbours", "owners"}
    members = {name for name in vars(Keys) if not name.startswith("_")} - ways_back - beginnings - indexes
    assert len(names) == len(set(names)) == len(members), "a key without a type, 'Hash: …', in its docstring"
