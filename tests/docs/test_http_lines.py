"""The lines of README and of the pages on HTTP do what they say: in a shell, against a gateway, a worker and Redis."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from emendo_client.testing.worker import environment
from tests.support.gateway import make_key
from tests.support.mem0.driven import INSTALLED, command
from tests.support.patience import PATIENCE
from tests.support.shell_lines import Shell, blocks, commands
from tests.support.web.servers import serving

SECTION = "## Over HTTP"
WRITTEN = "http://127.0.0.1:8080"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here"),
    pytest.mark.usefixtures("openai_server"),
]


@pytest.fixture(scope="module")
def address(emendo_worker, tmp_path_factory) -> Iterator[str]:
    """The address of a gateway that README's own line starts, beside the session's worker."""
    line = blocks("README.md", "sh", SECTION)[0].partition("#")[0]
    program, *words = shlex.split(line)
    assert (program, words) == (".venv/bin/emendo", ["gateway"])
    argv = [str(Path(sys.executable).with_name("emendo")), *words, "--port", "{port}"]
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    with serving(argv, environment(emendo_worker), log, "/health/live") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def project() -> str:
    """A project of this test only."""
    return f"acme-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def shell(emendo_worker, tmp_path) -> Iterator[Shell]:
    """A shell with the settings that the table of `emendo up` shows."""
    with Shell(tmp_path, environment(emendo_worker)) as running:
        yield running


def test_the_lines_of_readme(address, project, shell):
    _, block = blocks("README.md", "sh", SECTION)
    assert block.count(WRITTEN) == block.count("--project acme ") == 1
    lines = commands(block.replace(WRITTEN, address).replace("--project acme ", f"--project {project} "))
    *settings, add, get, update, search, delete = lines
    for line in settings:
        shell.run(line)
    added = json.loads(shell.run(add))
    assert (added["status"], added["results"][0]["memory"]) == ("succeeded", "I dislike seafood.")
    memory_id = added["results"][0]["memory_id"]
    fields, _, body = shell.run(get).partition("\n\n")
    assert fields.startswith("HTTP/1.1 200 OK")
    assert 'etag: "1"' in fields
    assert json.loads(body)["id"] == memory_id
    changed = json.loads(shell.run(update))["results"][0]
    assert (changed["memory_id"], changed["version"]) == (memory_id, 2)
    again = json.loads(shell.run(update))
    assert (again["status"], again["code"]) == (412, "VERSION_MISMATCH")
    (hit,) = json.loads(shell.run(search))["results"]
    assert (hit["id"], hit["memory"]) == (memory_id, "I enjoy seafood, especially sushi.")
    assert json.loads(shell.run(delete))["results"][0]["event"] == "DELETE"
    assert json.loads(shell.run(search)) == {"results": []}


def test_the_lines_of_the_page_on_http(address, project, shell, emendo_worker):
    key, _ = make_key(emendo_worker, project)
    # A block of settings alone is for the gateway's own start.
    run = [each for each in blocks("docs/how-to/http.md", "sh") if re.search(r"^(curl|emendo) ", each, re.MULTILINE)]
    first, keys, batch, follow = run
    setting, add, get_all = commands(first)
    assert setting == f"export EMENDO={WRITTEN} KEY=em_…"
    shell.run(setting.replace(WRITTEN, address).replace("em_…", key))
    (added,) = json.loads(shell.run(add))["results"]
    assert [each["id"] for each in json.loads(shell.run(get_all))["results"]] == [added["memory_id"]]
    create, list_keys, rotate, revoke = commands(keys)
    made = re.search(r"em_(\w+?)_", shell.run(create.replace("acme", project)))[1]
    assert made in shell.run(list_keys)
    assert "em_" in shell.run(rotate.replace("KEY_ID", made))
    assert f"revoked {made}" in shell.run(revoke.replace("KEY_ID", made))
    (send,), (events,) = commands(batch), commands(follow)
    job_id = json.loads(shell.run(send))["job_id"]
    told = shell.run(events.replace("JOB_ID", job_id))  # ends with the job
    assert "event: ended" in told


def test_the_lines_of_the_page_on_mem0s_clients(address, project, shell, emendo_worker):
    key, _ = make_key(emendo_worker, project)
    (block,) = blocks("docs/how-to/mem0-clients.md", "sh")
    setting, add, get_all = commands(block)
    shell.run(setting.replace(WRITTEN, address).replace("em_…", key))
    (added,) = json.loads(shell.run(add))["results"]
    assert [each["id"] for each in json.loads(shell.run(get_all))["results"]] == [added["id"]]


@pytest.mark.parametrize("place", [("README.md", "python", SECTION), ("docs/how-to/mem0-clients.md", "python")])
def test_mem0s_own_client(place, address, project, emendo_worker, tmp_path):
    key, _ = make_key(emendo_worker, project, "write")
    (code,) = blocks(*place)
    assert (code.count(WRITTEN), code.count("em_…")) == (1, 1)
    *before, search = code.replace(WRITTEN, address).replace("em_…", key).strip().splitlines()
    variables = {
        **environment(emendo_worker),
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "MEM0_TELEMETRY": "False",
    }
    script = "\n".join((*before, "import json", f"print(json.dumps({search}))"))
    done = subprocess.run(
        [command("sync")[0], "-c", script], env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert [hit["memory"] for hit in json.loads(done.stdout)["results"]] == ["I dislike seafood."]


def test_mem0s_npm_client(address, project, emendo_worker, tmp_path):
    key, _ = make_key(emendo_worker, project, "write")
    node = command("npm")[0]
    (code,) = blocks("docs/how-to/mem0-clients.md", "js")
    assert (code.count(WRITTEN), code.count("em_…")) == (1, 1)
    *before, listed = code.replace(WRITTEN, address).replace("em_…", key).strip().splitlines()
    stored = 'await client.add([{ role: "user", content: "I dislike seafood." }], { userId: "ana", infer: false });'
    (tmp_path / "page.mjs").write_text(
        "\n".join((*before, stored, f"const listed = {listed}", "console.log(JSON.stringify(listed));"))
    )
    (tmp_path / "node_modules").symlink_to(INSTALLED / "node_modules")
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "MEM0_TELEMETRY": "false"}
    done = subprocess.run(
        [node, "page.mjs"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert [memory["memory"] for memory in json.loads(done.stdout.splitlines()[-1])["results"]] == [
        "I dislike seafood."
    ]
