"""Runs several processes as one: started in order, their output prefixed, stopped together in reverse order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TextIO

from emendo_config.errors import ConfigurationError

READY_TIMEOUT = 60.0
# A process that dies is started again after this pause (seconds), doubled up to the longest one. One that ran
# for the steady time died of something new: its pauses begin anew.
FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 15.0, 60.0
# How long the last lines of an ended process may take to arrive; a descendant that left its session holds the pipe.
_LAST_WORDS = 2.0
_COLOURS = ("36", "32", "33", "35", "34", "31")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the stack.

    Attributes:
        ready: asked until it says True; None counts as ready at once.
        restart: start it again when it dies; otherwise its death ends the whole stack.
        stop_timeout: seconds it has to finish before it is killed.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    restart: bool = False
    stop_timeout: float = 20.0


@dataclass(slots=True)
class _Child:
    """A spec's process, and what is to become of it once it ends."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    buried: bool = False
    restart_at: float | None = None


class Supervisor:
    """Starts specs in order, watches them, and stops them so that what others need goes last.

    Args:
        specs: in the order of start.
        output: where the prefixed lines go.
    """

    def __init__(self, specs: Sequence[ProcessSpec], output: TextIO | None = None) -> None:
        self._specs = list(specs)
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
        """Starts everything and waits until each part is ready.

        Raises:
            ConfigurationError: a part died or was not ready in time; everything is stopped again.
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
        """Watches until a signal comes or a part that must not die does; then stops everything.

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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asks to outlive the terminal
                signal.signal(number, self._interrupted)

    def stop(self) -> None:
        """Stops everything in reverse order of start; what does not finish in time is killed."""
        self._stop.set()
        for spec in reversed(self._specs):
            child = self._children.get(spec.name)
            if child is not None:
                self._end(child)
        for reader in self._readers:
            reader.join(_LAST_WORDS)

    def say(self, line: str) -> None:
        """One line of the supervisor's own."""
        self._write("emendo", line, "1")

    def _interrupted(self, *_: object) -> None:
        self._interrupts += 1
        self._stop.set()
        if self._interrupts > 1:
            for child in self._children.values():
                if not child.buried:
                    _signal_group(child.process.pid, signal.SIGKILL)

    def _look_after(self, child: _Child) -> bool:
        """Restarts a dead child when its pause is over, the others looked after meanwhile; False when none may."""
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                self._spawn(child.spec, child.pause)
            return True
        status = child.process.poll()
        if status is None:
            return True
        self._bury(child)
        if not child.spec.restart:
            self.say(f"{child.spec.name} ended with {status}; stopping the stack")
            return False
        pause = FIRST_PAUSE if now - child.started > STEADY else child.pause
        self.say(f"{child.spec.name} ended with {status}; starting it again in {pause:g} s")
        child.restart_at, child.pause = now + pause, min(LONGEST_PAUSE, pause * 2)
        return True

    def _spawn(self, spec: ProcessSpec, pause: float = FIRST_PAUSE) -> None:
        # A session of its own: Ctrl-C reaches the supervisor only, which then stops things in order.
        process = subprocess.Popen(  # noqa: S603  # commands are ours
            list(spec.argv),
            env={**os.environ, **spec.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
                raise ConfigurationError(
                    f"{spec.name} ended with {process.returncode} before it was ready",
                    suggestion="its lines above say why",
                )
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{spec.name} was not ready within {READY_TIMEOUT:g} s")
            if self._stop.wait(0.05):
                raise KeyboardInterrupt

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
        self._bury(child)

    def _bury(self, child: _Child) -> None:
        """Kills what an ended process left of its group. Once only: later its number may be another's."""
        if not child.buried:
            child.buried = True
            _signal_group(child.process.pid, signal.SIGKILL)

    def _read(self, spec: ProcessSpec, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        colour = _COLOURS[self._specs.index(spec) % len(_COLOURS)]
        with stream:
            for line in stream:
                self._write(spec.name, line.decode(errors="replace").rstrip(), colour)

    def _write(self, name: str, line: str, colour: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        with self._print_lock:
            if self._output_gone:
                return
            try:
                self._output.write(f"{prefix} {line}\n")
                self._output.flush()
            except OSError:  # terminal or pipe closed: nobody reads, but the stack must still be stopped in order
                self._output_gone = True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:  # nobody of it is left
        return
