"""A client that a web server's workers inherit gives each its own answers: a thousand searches, none wrong."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.worker import environment
from tests.support.patience import PATIENCE
from tests.support.web.forms import WEB_SERVERS, WebServer
from tests.support.web.servers import IN_FLIGHT, SEARCHES, Answers, ask, serving

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [f"fact {number} that only one memory holds" for number in range(40)]

pytestmark = pytest.mark.slow


@pytest.fixture
def searched(emendo_client: MemoryClient, emendo_redis) -> dict[str, str]:
    """The environment of an app whose project holds each text once."""
    items = [{"messages": text, "user_id": "ana"} for text in TEXTS]
    assert emendo_client.batch_add(items, infer=False).wait(PATIENCE).status == "succeeded"
    return {
        **environment(emendo_client.settings),
        "SEARCHED_PROJECT": emendo_client.project,
        "SEARCH_BROKER": f"{emendo_redis.url}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize("server", WEB_SERVERS, ids=lambda server: server.name)
def test_each_search_gets_its_own_answer(server: WebServer, searched, tmp_path):
    if shutil.which(server.command[0]) is None and not server.command[0].startswith(sys.prefix):
        pytest.skip(f"{server.command[0]} is not installed")
    with serving(server.command, searched, tmp_path / "server.log", server.path) as port:
        answers = ask(port, server.path, TEXTS)
    assert answers.wrong == []
    assert answers.processes >= server.processes


@pytest.mark.parametrize(
    ("task", "pool"),
    [
        ("search", "prefork"),
        ("search-asyncio", "prefork"),
        ("search", "gevent"),
        ("search", "eventlet"),
    ],
)
def test_the_tasks_of_a_celery_worker(task, pool, searched, tmp_path):
    from celery import Celery

    if pool != "prefork" and find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    queue = f"searches-{os.getpid()}-{task}-{pool}"
    app = Celery("asking", broker=searched["SEARCH_BROKER"], backend=searched["SEARCH_BROKER"])
    command = [sys.executable, "-m", "celery", "-A", "tests.support.web.celery_tasks", "worker"]
    command += ["--pool", pool, "--concurrency", "3", "--queues", queue, "--without-gossip", "--without-mingle"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=searched, stdout=log, stderr=subprocess.STDOUT)
    try:
        queries = [TEXTS[number % len(TEXTS)] for number in range(SEARCHES)]
        sent = [app.send_task(task, [query], queue=queue) for query in queries]
        said = [result.get(timeout=PATIENCE).partition(" ") for result in sent]
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE)
    wrong = [(query, text) for query, (_, _, text) in zip(queries, said, strict=True) if text != query]
    assert Answers(wrong, len({pid for pid, _, _ in said})) == Answers([], 3 if pool == "prefork" else 1)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_multiprocessing(method, searched, monkeypatch):
    for name, value in searched.items():
        monkeypatch.setenv(name, value)
    from tests.support.web import pool_tasks

    pool_tasks.prepare()  # before the fork
    queries = [TEXTS[number % len(TEXTS)] for number in range(SEARCHES)]
    with multiprocessing.get_context(method).Pool(3) as pool:
        said = pool.map(pool_tasks.search, queries, chunksize=SEARCHES // (IN_FLIGHT * 2))
    assert said == queries


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_pool_of_concurrent_futures(method, searched, monkeypatch):
    """Its processes are forked while other threads of the parent search."""
    for name, value in searched.items():
        monkeypatch.setenv(name, value)
    from tests.support.web import pool_tasks

    pool_tasks.prepare()
    queries = [TEXTS[number % len(TEXTS)] for number in range(SEARCHES)]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(3, mp_context=context) as processes, ThreadPoolExecutor(IN_FLIGHT) as threads:
        beside = [threads.submit(pool_tasks.search, query) for query in queries[:100]]
        assert list(processes.map(pool_tasks.search, queries, chunksize=20)) == queries
        assert [each.result() for each in beside] == queries[:100]


def test_a_fork_in_a_thread(searched, monkeypatch):
    """Each of several threads forks while the others search, and its child searches."""
    for name, value in searched.items():
        monkeypatch.setenv(name, value)
    from tests.support.web import pool_tasks

    pool_tasks.prepare()

    def fork_and_search(number: int) -> int:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                texts = [TEXTS[(number + each) % len(TEXTS)] for each in range(50)]
                code = int([pool_tasks.search(text) for text in texts] != texts)
            finally:
                os._exit(code)
        found = pool_tasks.search(TEXTS[number]) == TEXTS[number]
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + (not found)

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        assert list(threads.map(fork_and_search, range(20))) == [0] * 20


def test_a_notebook(searched, tmp_path):
    """Cells with top-level await run in one loop; plain cells use the client for threads."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        "from tests.support.web.apps import found, found_async",
        f"texts = {TEXTS!r}",
        "[found(text) for text in texts] == texts",
        "[await found_async(text) for text in texts] == texts",
        "import asyncio\nlist(await asyncio.gather(*(found_async(text) for text in texts))) == texts",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        searched[name] = str(tmp_path / name)
    nbclient.NotebookClient(notebook, timeout=int(PATIENCE), kernel_name="python3").execute(cwd=str(ROOT), env=searched)
    assert [cell.outputs[0]["data"]["text/plain"] for cell in notebook.cells[2:]] == ["True"] * 3
