"""`emendo up`, `status` and `down`: the whole stack, in front and in the background."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.folders import make_folder
from emendo_client.testing.ports import free_port
from emendo_config import ConfigurationError, Settings
from emendo_ops.stack.running import RunFolder
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))}
NAMES = {"redis", "worker", "beat", "flower", "gateway"}


def emendo(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`emendo …` as a new user runs it: without any setting."""
    return subprocess.run(
        [sys.executable, "-m", "emendo_ops.cli", *words],
        env=CLEAN,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONG_PATIENCE,
        check=False,
    )


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.slow
def test_up_starts_everything_says_so_last_and_one_signal_stops_it_all(tmp_path):
    ready, log = tmp_path / "ready.json", tmp_path / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "emendo_ops.cli", "up", "--dir", str(tmp_path / "data")),
                *("--ready-file", str(ready)),
            ],
            env={**CLEAN, "EMENDO_EMBEDDING_BASE_URL": "http://127.0.0.1:1/v1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: ready.exists() or process.poll() is not None, log.read_text, LONG_PATIENCE)
        assert process.poll() is None, log.read_text()
        stack = json.loads(ready.read_text())
        assert ready.stat().st_mode & 0o077 == 0, "it holds a password"
        assert set(stack["pids"]) == NAMES
        with urllib.request.urlopen(f"{stack['gateway_url']}/health", timeout=PATIENCE) as answer:
            assert json.load(answer)["workers"] == 1
        request = urllib.request.Request(f"{stack['gateway_url']}/api/v1/memories?user_id=ana")
        request.add_header("Authorization", f"Bearer {stack['gateway_key']}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert json.load(answer)["total"] == 0
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{stack['flower_url']}/api/tasks", timeout=PATIENCE)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_PATIENCE) == 0, log.read_text()[-3000:]
    assert not ready.exists()
    assert not any(runs(pid) for pid in stack["pids"].values())
    first, *table = log.read_text().splitlines()
    assert first.startswith("emendo  | starting redis, worker, beat, flower, gateway; logs in ")
    assert len(table) <= 12, "nothing else is on the terminal"
    assert f"export EMENDO_REDIS_URL={stack['redis_url']}" in log.read_text()
    assert stack["flower_password"] in log.read_text()
    assert f"Authorization: Bearer {stack['gateway_key']}" in log.read_text()
    assert stat.S_IMODE((tmp_path / "data" / "up" / "gateway-key").stat().st_mode) == 0o600
    logs = tmp_path / "data" / "up" / "logs"
    assert {path.stem for path in logs.iterdir()} == NAMES
    assert "worker ready" in (logs / "worker.log").read_text()


@pytest.mark.slow
def test_detached_it_is_found_by_status_and_stopped_by_down(tmp_path):
    ports = {name: str(free_port()) for name in ("--redis-port", "--gateway-port", "--flower-port")}
    up = ("up", *(word for pair in ports.items() for word in pair))
    try:
        started = emendo(*up, "--detach", cwd=tmp_path)
        assert started.returncode == 0, started.stderr
        assert all(f":{port}" in started.stdout for port in ports.values())
        shown = emendo("status", cwd=tmp_path)
        assert shown.returncode == 0
        assert shown.stdout.splitlines() == started.stdout.splitlines()[:-2]
        pids = json.loads(emendo("status", "--json", cwd=tmp_path).stdout)["pids"]
        assert set(pids) == NAMES
        for again in (("up",), ("up", "--detach")):
            second = emendo(*again, cwd=tmp_path)
            assert second.returncode == 1
            assert "emendo up runs already" in second.stderr
            assert "emendo down" in second.stderr
        (url,) = re.findall(r"export EMENDO_REDIS_URL=(\S+)", shown.stdout)
        settings = Settings(redis_url=url, embedding_provider="local")
        with MemoryClient(settings) as client:
            assert client.add("I like fish.", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
        private = [tmp_path / ".emendo", *(tmp_path / ".emendo").glob("*"), tmp_path / ".emendo/up/logs"]
        assert {path.stat().st_mode & 0o777 for path in private} == {0o700}
    finally:
        stopped = emendo("down", cwd=tmp_path)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not any(runs(pid) for pid in pids.values())
    assert "does not run" in emendo("down", cwd=tmp_path).stdout
    gone = emendo("status", cwd=tmp_path)
    assert (gone.returncode, "does not run" in gone.stdout) == (1, True)


@pytest.mark.slow  # a stack that gives up
def test_detached_it_says_why_it_does_not_start(tmp_path):
    (tmp_path / ".emendo").mkdir()
    (tmp_path / ".emendo" / "redis").touch()
    refused = emendo("up", "--detach", cwd=tmp_path)
    assert refused.returncode == 1
    assert "redis cannot be made" in refused.stderr
    assert emendo("status", cwd=tmp_path).returncode == 1


def test_a_record_that_a_killed_stack_left_is_none(tmp_path):
    folder = RunFolder(tmp_path)
    killed = (
        "import os, pathlib, sys; from emendo_ops.stack.running import RunFolder\n"
        "with RunFolder(pathlib.Path(sys.argv[1])).hold(): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "up" / "running.json").exists()
    assert folder.record() == {}
    assert not folder.stop()
    with folder.hold():
        assert folder.record()["pid"] == os.getpid()
        with pytest.raises(ConfigurationError, match="runs already"), RunFolder(tmp_path).hold():
            pass
        assert folder.record()["pid"] == os.getpid(), "a refused second one leaves the record"
    assert folder.record() == {}


def test_a_folder_that_was_open_to_others_is_closed(tmp_path):
    (tmp_path / "up").mkdir(mode=0o755)
    with RunFolder(tmp_path).hold():
        assert (tmp_path / "up").stat().st_mode & 0o777 == 0o700
    make_folder(tmp_path / "a" / "b")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")} == {0o700}
