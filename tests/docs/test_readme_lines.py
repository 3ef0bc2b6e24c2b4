"""The lines of README's "Five minutes" do what they say: in a shell and in Python, beside a worker and Redis."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from emendo_client.testing.worker import environment
from tests.support.patience import PATIENCE
from tests.support.shell_lines import Shell, blocks, commands

SECTION = "## Five minutes"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("openai_server")]


@pytest.fixture
def variables(emendo_worker) -> dict[str, str]:
    """The settings that the table of `emendo up` shows, for a project of this test only."""
    return {**environment(emendo_worker), "EMENDO_PROJECT": f"acme-{uuid.uuid4().hex[:8]}"}


@pytest.fixture
def shell(variables, tmp_path) -> Iterator[Shell]:
    with Shell(tmp_path, variables) as running:
        yield running


def test_the_lines_of_the_shell(shell):
    start, block = blocks("README.md", "sh", SECTION)
    assert start.split("#")[0].split() == ["make", "up"]
    add, search, update, history, doctor = commands(block)
    memory_id = re.search(r'"memory_id": *"([^"]+)"', shell.run(f"{add} --json"))[1]
    assert "I dislike seafood." in shell.run(search)
    shell.run(update.replace("<memory id>", memory_id))
    told = shell.run(history.replace("<memory id>", memory_id))
    assert [word in told for word in ("ADD", "UPDATE", "sushi")] == [True] * 3  # cells are wrapped
    assert "redis" in shell.run(doctor).lower()


def test_the_lines_of_python(variables):
    (block,) = blocks("README.md", "python", SECTION)
    # The page leaves the ids of a batch to the reader. Each line that has a value shows it, as in a session.
    added = 'client.add(each, user_id="ben", infer=False).wait().results'
    ids = f'ids = [item.memory_id for each in "ab" for item in {added}]'
    told = subprocess.run(
        [sys.executable, "-c", _shown(block.replace("job = client.batch_update", f"{ids}\njob = client.batch_update"))],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert told.returncode == 0, told.stderr
    searched, history, deleted, restored, erased, batch = [json.loads(line) for line in told.stdout.splitlines()]
    assert "I enjoy seafood, especially sushi." in searched
    assert history.count("event=") >= 2
    assert all("Job" in each for each in (deleted, restored, erased))
    assert batch.count("Event.UPDATE") == 2


def _shown(code: str) -> str:
    """The code, where each expression on a line of its own also prints its value as a JSON string."""
    tree = ast.parse(code)
    for node in tree.body:
        if isinstance(node, ast.Expr):
            node.value = (
                ast.parse(f"__import__('builtins').print(__import__('json').dumps(str({ast.unparse(node.value)})))")
                .body[0]
                .value
            )
    return ast.unparse(tree)
