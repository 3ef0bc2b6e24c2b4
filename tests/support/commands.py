"""Commands that have to succeed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def output_of(command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float) -> str:
    """Runs a command to its end; its output is returned.

    Args:
        command: the program and its arguments.
        folder: its current one.
        environment: all of its variables.
        timeout: seconds.

    Raises:
        AssertionError: it failed; with all that it wrote.
    """
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
