"""CI runs everything with the first Python that is there, and the fast tests with each further one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("rabbitmq-server", "chromium", "promtool", "service")
FIRST = ["lint", "test", "test-slow"]


@pytest.fixture
def ci(tmp_path):
    """Runs .ci/run on a machine with these Pythons, by their command; what make was told, and what was said."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "dirname").symlink_to(str(shutil.which("dirname")))

    def command(name: str, script: str) -> None:
        (commands / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (commands / name).chmod(0o755)

    for name in NEEDED:
        command(name, "exit 0")

    def run(pythons: dict[str, str], *, usable: str = "*", fails: str = "none") -> tuple[list[str], str, int]:
        for name, version in pythons.items():
            # The script asks whether it can make an environment, and for its version.
            asked = f'case "$2" in *ensurepip*) [[ {version} == {usable} ]] ;; *) echo {version} ;; esac'
            command(name, asked)
        log = tmp_path / "made"
        command("make", f'echo "$@" >> {log}; [[ "$*" != {fails} ]]')
        words = [str(shutil.which("bash")), str(tmp_path / ".ci" / "run")]
        done = subprocess.run(words, env={"PATH": str(commands)}, capture_output=True, text=True, check=False)
        return log.read_text().splitlines(), done.stdout + done.stderr, done.returncode

    return run


def further(version: str) -> str:
    return f"test PYTHON=python{version} VENV=.venv-{version}"


def test_each_further_python_runs_the_fast_tests(ci):
    made, _, code = ci({"python3": "3.11", "python3.11": "3.11", "python3.12": "3.12", "python3.13": "3.13"})
    assert (made, code) == ([*FIRST, further("3.12"), further("3.13")], 0)


def test_the_newest_is_the_first_where_no_other_is_the_usual_one(ci):
    made, _, code = ci({"python3.12": "3.12", "python3.13": "3.13"})
    assert (made, code) == ([*FIRST, further("3.12")], 0)


def test_a_python_that_is_not_there_or_cannot_make_an_environment_is_named(ci):
    made, said, code = ci({"python3": "3.11", "python3.13": "3.13"}, usable="3.11")
    assert (made, code) == (FIRST, 0)
    assert "Python 3.12 is not here" in said
    assert "Python 3.13 is not here" in said


@pytest.mark.parametrize("fails", ["test-slow", "*3.12*"])
def test_a_failure_of_any_of_them_is_one_of_all(ci, fails):
    assert ci({"python3": "3.11", "python3.12": "3.12"}, fails=fails)[2] != 0
