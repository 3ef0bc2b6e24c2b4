"""docs/examples/ run: a server of each framework, a request that enqueues, a worker, and a request that finds it."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx2 as httpx
import pytest

from emendo_client import MemoryClient
from emendo_client.testing.worker import environment
from tests.support.patience import PATIENCE
from tests.support.shell_lines import ROOT, Shell, blocks, commands
from tests.support.web.servers import serving

EXAMPLES = ROOT / "docs" / "examples"
PAGE = "docs/how-to/web-frameworks.md"
_BIN = Path(sys.executable).parent
SERVERS = {
    "FastAPI, uvicorn": ("fastapi", [f"{_BIN}/uvicorn", "--port", "{port}", "fastapi_app:app"]),
    "Flask, flask run": ("flask", [f"{_BIN}/flask", "--app", "flask_app", "run", "--port", "{port}"]),
    "Flask, gunicorn": (
        "flask",
        [
            f"{_BIN}/gunicorn",
            "--preload",
            "--bind",
            "127.0.0.1:{port}",
            "--no-control-socket",
            "flask_app:create_app()",
        ],
    ),
    "Django, runserver": (
        "django",
        [sys.executable, str(EXAMPLES / "django_app.py"), "runserver", "--noreload", "127.0.0.1:{port}"],
    ),
}
# Nobody listens there.
AWAY = {f"EMENDO_{name}_URL": "redis://127.0.0.1:1" for name in ("REDIS", "CONTROL", "BROKER")}

pytestmark = pytest.mark.slow


@contextmanager
def served(name: str, client: MemoryClient, folder: Path, **more: str) -> Iterator[int]:
    """The port of an example's server, whose client has the test's project."""
    framework, command = SERVERS[name]
    if find_spec(framework) is None or shutil.which(command[0]) is None:
        pytest.skip(f"{framework} or its server is not installed: make test-slow installs it")
    variables = {
        **environment(client.settings),
        "EMENDO_PROJECT": client.project,
        "NOTES_DATABASE": str(folder / "notes.sqlite3"),
        "PYTHONPATH": str(EXAMPLES),
        **more,
    }
    with serving(command, variables, folder / "server.log", "/users/nobody/notes") as port:
        yield port


def waited_for(client: MemoryClient) -> list[str]:
    """The states of the project's jobs, each of them ended."""
    return [client.job(job.job_id).wait(PATIENCE).status for job in client.jobs()]


@pytest.mark.parametrize("name", SERVERS)
def test_the_lines_of_the_page_work_with_each_framework(name, emendo_client, tmp_path):
    (block,) = blocks(PAGE, "sh", "## Try one")
    remember, recall = commands(block)
    with served(name, emendo_client, tmp_path) as port, Shell(tmp_path, environment(emendo_client.settings)) as shell:
        accepted = json.loads(shell.run(remember.replace("8000", str(port))))
        assert accepted.keys() in ({"job"}, {"note"})
        assert waited_for(emendo_client) == ["succeeded"]
        assert json.loads(shell.run(recall.replace("8000", str(port)))) == ["I dislike seafood."]
    (memory,) = emendo_client.get_all(user_id="ana").results
    assert memory.memory == "I dislike seafood."


@pytest.mark.parametrize("name", ["FastAPI, uvicorn", "Flask, flask run"])
def test_errors_are_answers(name, emendo_client, tmp_path):
    with served(name, emendo_client, tmp_path, **AWAY) as port:
        refused, failed = (
            httpx.post(f"http://127.0.0.1:{port}/users/ana/notes", json={"text": text}, timeout=PATIENCE)
            for text in (" ", "I dislike seafood.")
        )
    assert (refused.status_code, refused.json().keys()) == (422, {"detail"})
    assert (failed.status_code, failed.headers["retry-after"]) == (503, "1")


def test_django_enqueues_nothing_for_what_rolls_back(emendo_client, tmp_path):
    with served("Django, runserver", emendo_client, tmp_path) as port:
        texts = [f"fact {uuid.uuid4().hex}" for _ in range(4)]
        url = f"http://127.0.0.1:{port}/users/ana/notes"
        statuses = [httpx.post(url, json={"text": text}, timeout=PATIENCE).status_code for text in texts]
    assert statuses == [202, 202, 202, 409]
    assert waited_for(emendo_client) == ["succeeded"] * 3
    assert {memory.memory for memory in emendo_client.get_all(user_id="ana").results} == set(texts[:3])


def test_django_checks_the_text_before_the_row_and_keeps_the_row_when_redis_is_away(emendo_client, tmp_path):
    with served("Django, runserver", emendo_client, tmp_path, **AWAY) as port:
        refused, kept = (
            httpx.post(f"http://127.0.0.1:{port}/users/ana/notes", json={"text": text}, timeout=PATIENCE)
            for text in (" ", "I dislike seafood.")
        )
    assert (refused.status_code, refused.json().keys()) == (422, {"detail"})
    assert (kept.status_code, kept.json()) == (202, {"note": 1})
    assert "NetworkError" in (tmp_path / "server.log").read_text()
