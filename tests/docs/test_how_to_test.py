"""docs/how-to/test-your-app.md works as it stands."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from emendo_client import testing
from emendo_client.testing.openai_server.faults import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "test-your-app.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONTROLS = re.findall(r"^\| `(\w+) (/_test/\S+)` \| (?:`(.*?)`)? ?\| ", PAGE, re.MULTILINE)


def test_every_python_block_is_a_file():
    assert PAGE.count("```python") == len(FILES) == 6
    assert len(dict(FILES)) == len(FILES)


@pytest.mark.slow
def test_the_files_of_the_page_pass_in_an_empty_folder(tmp_path):
    for name, text in FILES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr
    tests = sum(text.count("def test_") for _, text in FILES)
    assert f"{tests} passed" in result.stdout


def test_the_command_line_of_the_page_has_only_options_there_are():
    (line,) = re.findall(r"^python (-m emendo_client\.testing .*)$", PAGE, re.MULTILINE)
    usage = subprocess.run(
        [sys.executable, "-m", "emendo_client.testing", "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [word for word in shlex.split(line) if word.startswith("--")]
    assert len(options) == 4
    assert [option for option in options if f"{option} " not in usage] == []


@pytest.mark.parametrize(("verb", "target", "body"), CONTROLS)
def test_each_control_of_the_page_is_understood(verb, target, body):
    with testing.OpenAIServer() as server:
        address = urllib.parse.urlsplit(server.base_url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
        connection.request(verb, target, body.encode())
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (200, [] if verb == "GET" else {})
        connection.close()


def test_the_page_names_every_control_fault_and_export():
    orders = re.findall(
        r'case "(\w+) (\w+)"',
        (Path(testing.__file__).parent / "openai_server" / "control.py").read_text(encoding="utf-8"),
    )
    assert sorted((verb, target.removeprefix("/_test/")) for verb, target, _ in CONTROLS) == sorted(orders)
    assert [kind for kind in KINDS if f"`{kind}`" not in PAGE] == []
    assert [name for name in testing.__all__ if name not in PAGE and name != "Request"] == []
