"""`emendo up` on a machine with other users, in a folder with other users' programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.folders import password_in
from emendo_config import Settings
from tests.security.planted import PlantedFolder
from tests.security.test_local_files import open_to_others
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

pytestmark = pytest.mark.slow

EMENDO = str(Path(sys.executable).parent / "emendo")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))}
# Each with the processes that need it.
SECRETS = {
    "OPENAI_API_KEY": ("sk-openai-hush", {"worker", "gateway"}),
    "EMENDO_EMBEDDING_API_KEY": ("sk-embedding-hush", {"worker", "gateway"}),
    "EMENDO_CHAT_API_KEY": ("sk-chat-hush", {"worker"}),
    "EMENDO_CHAT_HEADERS": ('{"x-key": "header-hush"}', {"worker"}),
    "EMENDO_EMBEDDING_BASE_URL": ("http://127.0.0.1:1/base-hush", {"worker", "gateway"}),
    "EMENDO_FLOWER_PASSWORD": ("flower-hush", {"flower"}),
    "AWS_SECRET_ACCESS_KEY": ("aws-hush", {"worker"}),
}


@contextmanager
def running(folder: PlantedFolder, *words: str, **variables: str) -> Iterator[dict[str, Any]]:
    """The document of the ready file; the stack's folder is `.emendo` there."""
    ready = folder.path / "ready.json"
    ports = [word for name in ("redis", "gateway", "flower") for word in (f"--{name}-port", "0")]
    with (folder.path.parent / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [EMENDO, "up", *ports, "--ready-file", str(ready), *words],
            cwd=folder.path,
            env={**CLEAN, **variables},
            stdout=log,
            stderr=log,
        )
    try:
        log = folder.path.parent / "up.log"
        until(lambda: ready.exists() or process.poll() is not None, log.read_text, LONG_PATIENCE)
        assert process.poll() is None, (folder.path.parent / "up.log").read_text()
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        process.wait(LONG_PATIENCE)


def variables_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


def test_the_stack_in_a_planted_folder_keeps_programs_passwords_and_files_apart(tmp_path):
    planted = PlantedFolder(tmp_path)
    before = os.umask(0o002)
    try:
        with running(planted, **{name: value for name, (value, _) in SECRETS.items()}) as stack:
            pids = stack["pids"]
            assert set(pids) == {"redis", "worker", "beat", "flower", "gateway"}
            password = password_in(planted.path / ".emendo" / "redis")
            for name, pid in pids.items():
                variables = variables_of(pid)
                got = {secret for secret, (value, _) in SECRETS.items() if value in variables}
                assert got == {secret for secret, (_, users) in SECRETS.items() if name in users}, name
                assert (password in variables) == (name != "redis")
                said = Path(f"/proc/{pid}/cmdline").read_text()
                assert password not in said
                assert "hush" not in said
            assert open_to_others(planted.path / ".emendo") == {}
            assert (planted.path / "ready.json").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    assert planted.was_run == set()
    assert f"export EMENDO_REDIS_URL=redis://:{password}@127.0.0.1:" in (tmp_path / "up.log").read_text()
    for log in (planted.path / ".emendo").rglob("*.log*"):
        assert password not in log.read_text(), log
        assert "hush" not in log.read_text(), log


def test_jobs_are_done_in_a_planted_folder_and_a_second_start_takes_the_same_password(tmp_path):
    planted = PlantedFolder(tmp_path)
    with running(planted) as stack, MemoryClient(Settings(redis_url=stack["redis_url"])) as client:
        assert client.add("I like fish.", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
    with running(planted) as again, MemoryClient(Settings(redis_url=again["redis_url"])) as client:
        assert [each.memory for each in client.get_all(user_id="ana").results] == ["I like fish."]
    (first, second) = (re.findall(r"//:(\w+)@", each["redis_url"]) for each in (stack, again))
    assert first == second
    assert planted.was_run == set()


@pytest.mark.parametrize("words", [("demo", "--updates", "10"), ("bench", "--memories", "20", "--rounds", "1")])
def test_the_demo_and_the_benchmark_run_nothing_of_a_planted_folder(tmp_path, words):
    planted = PlantedFolder(tmp_path)
    done = subprocess.run(
        [EMENDO, *words, "--json"],
        cwd=planted.path,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=LONG_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert planted.was_run == set()
    assert not re.search(r"redis://:\w+@", done.stdout + done.stderr)
