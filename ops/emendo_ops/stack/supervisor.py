"""Runs several processes as one: starts them in order, keeps or shows their output, and stops them in reverse order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TextIO

from emendo_client.testing.folders import PRIVATE_UMASK
from emendo_config.errors import ConfigurationError
from emendo_config.visible_text import visible

READY_TIMEOUT = 120.0
# Seconds before a dead process is restarted: the first pause, doubled with each death up to the longest one. A
# process that ran for the steady time starts again at the first pause.
FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 15.0, 60.0
# Seconds to wait for the last lines of ended processes. A descendant that left the session may hold the pipe open.
_OUTPUT_TIMEOUT = 2.0
# A log that reaches this size is put aside as `<name>.log.1`, in place of an older one.
_LOG_BYTES = 10_000_000
_LAST_LINES = 12
_COLOURS = ("36", "32", "33", "35", "34", "31")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the stack.

    Attributes:
        env: all its variables; None gives it those of this process.
        ready: polled until it returns True; None means ready at once.
        restart: restart it if it dies; otherwise its death ends the whole stack.
        stop_timeout: seconds to finish before it is killed.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    ready: Callable[[], bool] | None = None
    restart: bool = False
    stop_timeout: float = 20.0


@dataclass(slots=True)
class _Child:
    """A spec's process, and the state of its restart."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    group_killed: bool = False
    restart_at: float | None = None


class Supervisor:
    """Starts specs in order, watches them, and stops them in reverse order, since later ones need earlier ones.

    Args:
        specs: in the order of start.
        output: receives the prefixed lines.
        logs: a folder for the output of each process, as `<name>.log`; None keeps none.
        verbose: the output of the processes is among the lines.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        output: TextIO | None = None,
        *,
        logs: Path | None = None,
        verbose: bool = True,
    ) -> None:
        self._specs = list(specs)
        self._logs = logs
        self._verbose = verbose
        self._output = output or sys.stdout
        self._colour = self._output.isatty()
        self._width = max((len(spec.name) for spec in specs), default=0)
        self._children: dict[str, _Child] = {}
        self._readers: list[threading.Thread] = []
        self._print_lock = threading.Lock()
        self._interrupts = 0
        self._output_gone = False
        self._stop = threading.Event()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: child.process.pid for name, child in self._children.items()}

    def start(self) -> None:
        """Starts everything and waits until each process is ready.

        Raises:
            ConfigurationError: a process died or was not ready in time; everything is stopped again.
            KeyboardInterrupt: a signal came first; everything is stopped again.
        """
        try:
            for spec in self._specs:
                self._spawn(spec)
                self._wait_until_ready(spec)
        except BaseException:
            self.stop()
            raise

    def run(self) -> int:
        """Watches until a signal comes or a process without `restart` dies; then stops everything.

        Returns:
            0 after a signal, 1 after a death.
        """
        code = 0
        while not self._stop.wait(0.2):
            if not all(self._look_after(child) for child in tuple(self._children.values())):
                code = 1
                break
        self.stop()
        return code

    def handle_signals(self) -> None:
        """Makes Ctrl-C, SIGTERM and a closed terminal stop the stack, and a second signal kill it at once."""
        # Also where SIGINT is ignored: a script's shell makes it so for what it starts in the background.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupted)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup makes a process outlive the terminal
            signal.signal(signal.SIGHUP, self._interrupted)

    def stop(self) -> None:
        """Stops everything in reverse order of start; kills each process that does not finish in time."""
        self._stop.set()
        for spec in reversed(self._specs):
            child = self._children.get(spec.name)
            if child is not None:
                self._end(child)
        for reader in self._readers:
            reader.join(_OUTPUT_TIMEOUT)

    def say(self, line: str) -> None:
        """Prints a line of the supervisor itself."""
        self._write("emendo", line, "1")

    def print(self, lines: Sequence[str]) -> None:
        """Prints lines as they are, below an empty one."""
        self._put("".join(f"{line}\n" for line in ("", *lines)))

    def _interrupted(self, *_: object) -> None:
        self._interrupts += 1
        self._stop.set()
        if self._interrupts > 1:
            for child in self._children.values():
                if not child.group_killed:
                    _signal_group(child.process.pid, signal.SIGKILL)

    def _look_after(self, child: _Child) -> bool:
        """Restarts a dead child once its pause is over; False if the child died and must not be restarted."""
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                self._spawn(child.spec, child.pause)
            return True
        status = child.process.poll()
        if status is None:
            return True
        self._kill_group(child)
        if not child.spec.restart:
            self.say(f"{child.spec.name} ended with {status}; stopping the stack")
            return False
        pause = FIRST_PAUSE if now - child.started > STEADY else child.pause
        self.say(f"{child.spec.name} ended with {status}; starting it again in {pause:g} s")
        child.restart_at, child.pause = now + pause, min(LONGEST_PAUSE, pause * 2)
        return True

    def _spawn(self, spec: ProcessSpec, pause: float = FIRST_PAUSE) -> None:
        # In a session of its own, so that Ctrl-C reaches only the supervisor, which then stops them in order.
        process = subprocess.Popen(  # noqa: S603  # commands are ours
            list(spec.argv),
            env={**(os.environ if spec.env is None else spec.env), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
        self._children[spec.name] = _Child(spec, process, time.monotonic(), pause)
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        reader = threading.Thread(target=self._read, args=(spec, process.stdout), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _wait_until_ready(self, spec: ProcessSpec) -> None:
        process = self._children[spec.name].process
        deadline = time.monotonic() + READY_TIMEOUT
        if self._stop.is_set():
            raise KeyboardInterrupt
        while spec.ready is not None and not spec.ready():
            if process.poll() is not None:
                self._readers[-1].join(_OUTPUT_TIMEOUT)
                raise self._not_ready(spec, f"ended with {process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._not_ready(spec, f"was not ready within {READY_TIMEOUT:g} s")
            if self._stop.wait(0.05):
                raise KeyboardInterrupt

    def _not_ready(self, spec: ProcessSpec, problem: str) -> ConfigurationError:
        """The error for a process that does not start; its last lines are shown, unless all were."""
        where = "its lines above say why"
        if self._logs is not None and not self._verbose:
            log = self._logs / f"{spec.name}.log"
            for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else ():
                self._write(spec.name, line, _COLOURS[0])
            where += f", all of them are in {log}"
        return ConfigurationError(f"{spec.name} {problem}", suggestion=where)

    def _end(self, child: _Child) -> None:
        spec, process = child.spec, child.process
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            try:
                process.wait(spec.stop_timeout)
            except subprocess.TimeoutExpired:
                self.say(f"{spec.name} did not stop within {spec.stop_timeout:g} s; killing it")
                _signal_group(process.pid, signal.SIGKILL)
                process.wait()
        self._kill_group(child)

    def _kill_group(self, child: _Child) -> None:
        """Kills the remaining processes of an ended child's group. Once only, because the id may be reused later."""
        if not child.group_killed:
            child.group_killed = True
            _signal_group(child.process.pid, signal.SIGKILL)

    def _read(self, spec: ProcessSpec, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        colour = _COLOURS[self._specs.index(spec) % len(_COLOURS)]
        log = self._log_of(spec)
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                if log is not None:
                    log.emit(logging.makeLogRecord({"msg": line}))
                if self._verbose:
                    self._write(spec.name, line, colour)
        if log is not None:
            log.close()

    def _log_of(self, spec: ProcessSpec) -> RotatingFileHandler | None:
        if self._logs is None:
            return None
        path = self._logs / f"{spec.name}.log"
        return RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")

    def _write(self, name: str, line: str, colour: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self._put(f"{prefix} {visible(line)}\n")

    def _put(self, text: str) -> None:
        with self._print_lock:
            if self._output_gone:
                return
            try:
                self._output.write(text)
                self._output.flush()
            except OSError:  # terminal or pipe closed; the stack must still be stopped in order
                self._output_gone = True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:  # the group is empty
        return
