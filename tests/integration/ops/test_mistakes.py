"""A person's mistake, a full disk or a reader that goes away: a line that says so, never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emendo_client.testing.worker import environment
from tests.support.intake import added
from tests.support.patience import PATIENCE

EMENDO = str(Path(sys.executable).with_name("emendo"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder: with a file that is no export, and a folder where a file is expected."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.json").write_text('{"mine": 1}', encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("export nowhere/x.jsonl", 1, "nowhere/x.jsonl: No such file or directory"),
        ("export folder", 2, "'folder' is a directory"),
        ("export notes.json", 1, "notes.json is there already"),
        ("export notes.json --resume", 1, "notes.json is no export, and would be lost"),
        ("history export nowhere/x.jsonl", 1, "'nowhere/x.jsonl': No such file or directory"),
        ("history export folder", 1, "Is a directory"),
        ("history export /dev/full", 1, "Error: No space left on device"),
        ("import nowhere", 2, "'nowhere': No such file or directory"),
        ("import folder", 2, "'folder': Is a directory"),
        ("import bytes", 1, "the file is no export"),
        ("add --messages nowhere --user ana", 2, "No such file or directory"),
        ("add --messages bytes --user ana", 2, "it is not JSON"),
        ("eval inference --cases folder", 1, "no cases in folder"),
        ("redis-users --out notes.json", 2, "'notes.json' is a file"),
        ("list --user ana --cursor zzz", 1, "leave it out for the first page"),
    ],
)
def test_a_mistake_is_said_in_a_line(cli, services, client, folder, words, code, said):  # noqa: PLR0917
    added(services, client)
    got, _, err = cli(services.settings, *words.split())
    assert (got, said in err, "Traceback" in err) == (code, True, False), err
    assert (folder / "notes.json").read_text(encoding="utf-8") == '{"mine": 1}'


def test_an_export_that_was_cut_off_in_its_first_line_goes_on(cli, services, folder):
    for beginning in ("", '{"emendo_ex'):
        (folder / "cut.jsonl").write_text(beginning, encoding="utf-8")
        assert cli(services.settings, "export", "cut.jsonl", "--resume")[0] == 0
        assert (folder / "cut.jsonl").read_text(encoding="utf-8").startswith('{"emendo_export":1')


def shell(line: str, variables: dict[str, str]) -> tuple[int, str]:
    """The exit code of `emendo` in a line of bash, and everything that was printed where it can be read."""
    program = f'set -o pipefail; emendo() {{ {EMENDO} "$@"; }}; {line}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", program], env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", ["jobs", "--help", "export -", "completion bash"])
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (">/dev/full", 1, "No space left on device"),
        ("| head -c 0", None, ""),
        (">&-", 0, ""),
        ("2>&- >/dev/null", 0, ""),
        ("<&- >/dev/null", 0, ""),
    ],
)
def test_a_stream_that_takes_nothing_brings_no_traceback(emendo_settings, words, end, code, said):
    got, told = shell(f"emendo {words} {end}", environment(emendo_settings))
    assert "Traceback" not in told
    assert "Exception" not in told
    assert said in told
    assert got == code or (code is None and got in (0, 1))  # whether it saw its reader go


@pytest.mark.slow
def test_an_environment_without_a_home_or_a_locale_is_enough(emendo_worker):
    variables = {name: value for name, value in environment(emendo_worker).items() if name.startswith("EMENDO_")}
    for more in ({}, {"HOME": "/nowhere", "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb"}):
        done = subprocess.run(
            [EMENDO, "count", "--all-users"],
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_commands_subcommands_options_and_values():
    asked = {"sea": "search", "search --us": "--user", "keys cr": "create", "search --mode hy": "hybrid"}
    lines = ['eval "$(emendo completion bash)"']
    for words in asked:
        before = words.split()[:-1]
        lines += [
            f"COMP_WORDS=(emendo {words}) COMP_CWORD={len(before) + 1} COMPREPLY=()",
            '_emendo_completion emendo; echo "${COMPREPLY[@]}"',
        ]
    variables = {**os.environ, "PATH": f"{Path(EMENDO).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.stdout.splitlines(), done.stderr) == (list(asked.values()), "")
