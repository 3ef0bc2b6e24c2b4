"""The commands of a page's code blocks, and a shell that runs them one after another, as a reader would."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str, after: str = "") -> list[str]:
    """The code blocks in one language of a page, such as `README.md`; with `after` those of this section only."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if after:
        (text,) = re.findall(rf"^{re.escape(after)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block. A line that begins with a space belongs to the command before it."""
    return [command.rstrip() for command in re.split(r"\n(?=[^ \n])", block) if command.strip()]


class Shell:
    """One POSIX shell; a context manager. `emendo` is on its PATH, and `.venv` is in its folder.

    Args:
        folder: where it runs, which should be empty.
        environment: all its variables but PATH.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        (folder / ".venv").symlink_to(sys.prefix)
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        self._process = subprocess.Popen(
            ["sh"],
            cwd=folder,
            env={**environment, "PATH": path, "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=PATIENCE)  # ends the input, and with it the shell

    def run(self, command: str) -> str:
        """The output of one command, both streams.

        Raises:
            AssertionError: its exit code is not 0.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = f"end-{secrets.token_hex(8)}"
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' {mark} $?\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.startswith(mark):
                output = "".join(said).removesuffix("\n")
                assert line.split()[1] == "0", f"{command}\nended with {line.split()[1]}:\n{output}"
                return output
            said.append(line)
        raise AssertionError(f"the shell ended in {command}:\n{''.join(said)}")
