"""docs/reference/settings.md is what the `Settings` class says today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emendo_config import GatewaySettings, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "settings.md"


def test_the_page_is_fresh():
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_settings.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_setting_has_a_row_that_says_what_it_is():
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| `EMENDO_"):
            rows[cells[1].strip("`")] = cells[-2]
    assert list(rows) == [*Settings.variables(), *GatewaySettings.variables()]
    assert [name for name, what in rows.items() if not what] == []
