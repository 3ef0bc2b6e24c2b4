"""The supervisor: order, prefixes, restarts, and nothing left running."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emendo_client.testing.ports import free_port, is_taken, require_free, stable_port, usable_port
from emendo_config import ConfigurationError
from emendo_ops.stack import supervisor as supervision
from emendo_ops.stack.supervisor import ProcessSpec, Supervisor
from tests.support.patience import PATIENCE, until

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


def test_another_part_that_dies_during_a_restart_pause_is_seen_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 600.0)
    log, output = tmp_path / "log", io.StringIO()
    supervisor = Supervisor([sleeper("redis", log), sleeper("worker", log, restart=True)], output)
    supervisor.start()
    codes = []
    runner = threading.Thread(target=lambda: codes.append(supervisor.run()))
    runner.start()
    os.kill(supervisor.pids["worker"], 9)
    until(lambda: "starting it again" in output.getvalue())
    os.kill(supervisor.pids["redis"], 9)
    runner.join(PATIENCE)
    assert codes == [1]


def test_pauses_double_and_start_over_after_a_steady_run(monkeypatch):
    supervisor = Supervisor([], io.StringIO())
    dead = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    dead.wait()
    spec = ProcessSpec("worker", ["unused"], restart=True)
    said = []
    monkeypatch.setattr(supervisor, "say", said.append)
    for started, pause in ((time.monotonic(), 4.0), (time.monotonic() - supervision.STEADY - 1, 4.0)):
        child = supervision._Child(spec, dead, started, pause)
        assert supervisor._look_after(child)
        said.append(child.pause)
    assert said == [
        "worker ended with 0; starting it again in 4 s",
        8.0,
        "worker ended with 0; starting it again in 0.5 s",
        1.0,
    ]


def test_what_a_part_leaves_behind_is_killed_and_does_not_hold_up_the_stop(tmp_path):
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('child up', flush=True); time.sleep(600)"
    parent = (
        f"import pathlib, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {stubborn!r}]);"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); child.wait()"
    )
    output, pid = io.StringIO(), tmp_path / "pid"
    spec = ProcessSpec(
        "parent", [sys.executable, "-c", parent, str(pid)], ready=lambda: "child up" in output.getvalue()
    )
    supervisor = Supervisor([spec], output)
    supervisor.start()
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    until(lambda: not alive(int(pid.read_text())))


def test_a_signal_while_starting_is_an_interruption_and_no_mistake(tmp_path):
    log = tmp_path / "log"
    supervisor = Supervisor([sleeper("first", log), ProcessSpec("second", ["never started"])], io.StringIO())
    supervisor._interrupted()
    with pytest.raises(KeyboardInterrupt):
        supervisor.start()
    assert not alive(supervisor.pids["first"])
    assert "second" not in supervisor.pids


STACK = """
import pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
from emendo_ops.stack.supervisor import ProcessSpec, Supervisor
busy = "import time\\nwhile True: print('x' * 2000, flush=True); time.sleep(0.01)"
stubborn = (
    "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
)
path = pathlib.Path(sys.argv[1])
deaf = path.with_suffix(".deaf")
specs = [
    ProcessSpec("busy", [sys.executable, "-c", busy]),
    ProcessSpec("stubborn", [sys.executable, "-c", stubborn, str(deaf)], ready=deaf.exists, stop_timeout=0.5),
]
supervisor = Supervisor(specs)
supervisor.handle_signals()
supervisor.start()
path.with_suffix(".new").write_text(" ".join(map(str, supervisor.pids.values())))
path.with_suffix(".new").rename(path)
code = supervisor.run()
sys.stdout = None
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stack_in_the_background_of_a_script_is_stopped_by_any_signal(tmp_path, number):
    """The shell lets what it starts in the background ignore SIGINT."""
    path = tmp_path / "pids"
    script = f'"{sys.executable}" -c "$STACK" "{path}" >/dev/null 2>&1 & echo $!; wait $!; echo ended with $?'
    shell = subprocess.Popen(
        ["sh", "-c", script], env={**os.environ, "STACK": STACK}, stdout=subprocess.PIPE, text=True
    )
    with shell:
        pid = int(shell.stdout.readline())
        try:
            until(path.exists)
            os.kill(pid, number)
            until(lambda: shell.poll() is not None)
        except AssertionError:
            os.kill(pid, signal.SIGTERM)  # nothing may stay behind, nor hold the pipe open
            raise
        assert shell.stdout.readline() == "ended with 0\n"
    until(lambda: not any(alive(int(pid)) for pid in path.read_text().split()))


def test_nohup_lets_a_stack_outlive_its_terminal(monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        Supervisor([], io.StringIO()).handle_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_each_part_has_its_log_and_the_terminal_only_what_the_stack_says(tmp_path):
    log, output = tmp_path / "log", io.StringIO()
    supervisor = Supervisor([sleeper("first", log), sleeper("second", log)], output, logs=tmp_path, verbose=False)
    supervisor.start()
    until(lambda: all("hello from" in (tmp_path / f"{name}.log").read_text() for name in ("first", "second")))
    supervisor.say("ready")
    supervisor.stop()
    assert output.getvalue() == "emendo | ready\n"
    assert (tmp_path / "first.log").read_text() == "hello from first\n"


def test_the_last_lines_of_a_part_that_does_not_start_are_shown_with_the_place_of_all(tmp_path):
    broken = "for n in range(40): print('line', n, '100%')\nraise SystemExit(3)"
    spec = ProcessSpec("broken", [sys.executable, "-c", broken], ready=lambda: False)
    output = io.StringIO()
    with pytest.raises(ConfigurationError, match="broken ended with 3") as refused:
        Supervisor([spec], output, logs=tmp_path, verbose=False).start()
    assert "broken | line 39 100%" in output.getvalue()
    assert "line 5 " not in output.getvalue()
    assert str(tmp_path / "broken.log") in refused.value.suggestion


@pytest.mark.parametrize(("number", "close"), [(signal.SIGHUP, False), (signal.SIGTERM, True)])
def test_a_closed_terminal_leaves_nothing_running(tmp_path, number, close):
    path = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, "-c", STACK, str(path)], stdout=subprocess.PIPE, start_new_session=True)
    drain = None
    try:
        until(path.exists)
        if close:
            process.stdout.close()
        else:
            drain = threading.Thread(target=process.stdout.read)
            drain.start()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if drain is not None:
            drain.join()
        process.stdout.close()
    until(lambda: not any(alive(int(pid)) for pid in path.read_text().split()))


def test_a_stable_port_is_the_preferred_one_or_the_next_that_is_free():
    preferred = free_port()
    assert stable_port(preferred) == stable_port(preferred) == preferred
    with socket.create_server(("127.0.0.1", preferred)):
        assert preferred < stable_port(preferred) < preferred + 100
    with socket.create_server(("0.0.0.0", preferred)):
        assert stable_port(preferred) != preferred
    with socket.create_server(("127.0.0.1", preferred)) as server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()  # the server's side of the connection stays behind for a minute
    assert stable_port(preferred) == preferred


def test_ports_are_free_or_refused_by_number():
    port = free_port()
    assert not is_taken(port)
    require_free(port, "Redis", "--redis-port")
    assert usable_port(port, "Redis", "--redis-port") == port
    assert not is_taken(usable_port(0, "Redis", "--redis-port"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(ConfigurationError, match=f"port {port} is taken.*--redis-port"):
            usable_port(port, "Redis", "--redis-port")
