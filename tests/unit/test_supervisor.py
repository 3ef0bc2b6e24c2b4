"""The supervisor: order, prefixes, restarts, and nothing left running."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from emendo_client.local.ports import free_port, is_taken, require_free
from emendo_client.local.supervisor import ProcessSpec, Supervisor
from emendo_config import ConfigurationError

SLEEPER = """
import pathlib, signal, sys, time
path = pathlib.Path(sys.argv[1])
def end(*_):
    with path.open("a") as log: log.write(f"{sys.argv[2]} stopped\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("hello from", sys.argv[2], flush=True)
with path.open("a") as log: log.write(f"{sys.argv[2]} started\\n")
while True: time.sleep(0.05)
"""


def until(condition, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        threading.Event().wait(0.01)


def sleeper(name: str, log: Path, **more) -> ProcessSpec:
    ready = more.pop("ready", lambda: log.exists() and f"{name} started" in log.read_text())
    return ProcessSpec(name, [sys.executable, "-c", SLEEPER, str(log), name], ready=ready, **more)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text()


def test_things_start_in_order_and_stop_in_reverse(tmp_path):
    log, output = tmp_path / "log", io.StringIO()
    supervisor = Supervisor([sleeper("first", log), sleeper("second", log)], output)
    supervisor.start()
    pids = list(supervisor.pids.values())
    until(lambda: "second | hello from second" in output.getvalue())
    supervisor.stop()
    assert log.read_text().splitlines() == ["first started", "second started", "second stopped", "first stopped"]
    assert "first  | hello from first" in output.getvalue()
    assert not any(alive(pid) for pid in pids)


def test_a_worker_that_dies_is_started_again_and_said_so(tmp_path):
    log, output = tmp_path / "log", io.StringIO()
    supervisor = Supervisor([sleeper("worker", log, restart=True)], output)
    supervisor.start()
    runner = threading.Thread(target=supervisor.run)
    runner.start()
    first = supervisor.pids["worker"]
    os.kill(first, 9)
    until(lambda: supervisor.pids["worker"] != first and log.read_text().count("started") == 2)
    assert "worker ended with -9; starting it again" in output.getvalue()
    supervisor._stop.set()
    runner.join()
    assert not alive(supervisor.pids["worker"])


def test_the_death_of_what_must_live_ends_the_stack(tmp_path):
    log = tmp_path / "log"
    supervisor = Supervisor([sleeper("redis", log), sleeper("worker", log, restart=True)], io.StringIO())
    supervisor.start()
    os.kill(supervisor.pids["redis"], 9)
    assert supervisor.run() == 1
    assert not any(alive(pid) for pid in supervisor.pids.values())


def test_what_does_not_stop_is_killed(tmp_path):
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    output = io.StringIO()
    spec = ProcessSpec(
        "stubborn", [sys.executable, "-c", stubborn], ready=lambda: "up" in output.getvalue(), stop_timeout=0.2
    )
    supervisor = Supervisor([spec], output)
    supervisor.start()
    supervisor.stop()
    assert not alive(supervisor.pids["stubborn"])
    assert "did not stop within 0.2 s; killing it" in output.getvalue()


def test_a_part_that_dies_at_start_stops_the_others(tmp_path):
    log = tmp_path / "log"
    broken = ProcessSpec("broken", [sys.executable, "-c", "raise SystemExit(3)"], ready=lambda: False)
    supervisor = Supervisor([sleeper("first", log), broken], io.StringIO())
    with pytest.raises(ConfigurationError, match="broken ended with 3"):
        supervisor.start()
    assert not alive(supervisor.pids["first"])


def test_ports_are_free_or_refused_by_number():
    import socket

    port = free_port()
    assert not is_taken(port)
    require_free(port, "Redis", "--redis-port")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(ConfigurationError, match=f"port {port} is taken.*--redis-port"):
            require_free(port, "Redis", "--redis-port")
