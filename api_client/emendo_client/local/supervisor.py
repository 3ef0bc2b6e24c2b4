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
# A process that dies is started again after this pause (seconds), doubled up to the longest one.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
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
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self._print_lock = threading.Lock()
        self._interrupts = 0
        self._stop = threading.Event()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def start(self) -> None:
        """Starts everything and waits until each part is ready.

        Raises:
            ConfigurationError: a part died or was not ready in time; everything is stopped again.
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
        pauses = dict.fromkeys((spec.name for spec in self._specs), FIRST_PAUSE)
        code = 0
        while not self._stop.wait(0.2):
            for spec in self._specs:
                status = self._processes[spec.name].poll()
                if status is None:
                    continue
                if not spec.restart:
                    self.say(f"{spec.name} ended with {status}; stopping the stack")
                    self._stop.set()
                    code = 1
                    break
                self.say(f"{spec.name} ended with {status}; starting it again in {pauses[spec.name]:g} s")
                if not self._stop.wait(pauses[spec.name]):
                    self._spawn(spec)
                pauses[spec.name] = min(LONGEST_PAUSE, pauses[spec.name] * 2)
        self.stop()
        return code

    def handle_signals(self) -> None:
        """Makes Ctrl-C and SIGTERM stop the stack, and a second one kill it at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupted)

    def stop(self) -> None:
        """Stops everything in reverse order of start; what does not finish in time is killed."""
        self._stop.set()
        for spec in reversed(self._specs):
            process = self._processes.get(spec.name)
            if process is not None and process.poll() is None:
                self._end(process, spec)
        for reader in self._readers:
            reader.join()

    def say(self, line: str) -> None:
        """One line of the supervisor's own."""
        self._write("emendo", line, "1")

    def _interrupted(self, *_: object) -> None:
        self._interrupts += 1
        self._stop.set()
        if self._interrupts > 1:
            for process in self._processes.values():
                _signal_group(process, signal.SIGKILL)

    def _spawn(self, spec: ProcessSpec) -> None:
        # A session of its own: Ctrl-C reaches the supervisor only, which then stops things in order.
        process = subprocess.Popen(  # noqa: S603  # commands are ours
            list(spec.argv),
            env={**os.environ, **spec.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes[spec.name] = process
        reader = threading.Thread(target=self._read, args=(spec, process.stdout), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _wait_until_ready(self, spec: ProcessSpec) -> None:
        process = self._processes[spec.name]
        deadline = time.monotonic() + READY_TIMEOUT
        while spec.ready is not None and not spec.ready():
            if process.poll() is not None:
                raise ConfigurationError(
                    f"{spec.name} ended with {process.returncode} before it was ready",
                    suggestion="its lines above say why",
                )
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{spec.name} was not ready within {READY_TIMEOUT:g} s")
            if self._stop.wait(0.05):
                raise ConfigurationError("interrupted while starting")

    def _end(self, process: subprocess.Popen[bytes], spec: ProcessSpec) -> None:
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(spec.stop_timeout)
        except subprocess.TimeoutExpired:
            self.say(f"{spec.name} did not stop within {spec.stop_timeout:g} s; killing it")
            _signal_group(process, signal.SIGKILL)
            process.wait()

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
            self._output.write(f"{prefix} {line}\n")
            self._output.flush()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # it ended between the look and the signal
            return
