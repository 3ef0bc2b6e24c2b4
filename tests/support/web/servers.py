"""Starts a web server on a free port, asks it a thousand questions at once, and stops it by its id."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.patience import PATIENCE

SEARCHES, IN_FLIGHT = 1_000, 8
# Seconds; far more than any server takes.
STOP_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a server.

    Attributes:
        wrong: (query, answer) of each search that got another one's answer, or none.
        processes: how many processes answered.
    """

    wrong: list[tuple[str, str]]
    processes: int


def ask(port: int, path: str, texts: Sequence[str]) -> Answers:
    """Searches each text SEARCHES times in all, IN_FLIGHT at once. The right answer is the text itself."""
    queries = [texts[number % len(texts)] for number in range(SEARCHES)]
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        answers = list(pool.map(lambda query: get(port, f"{path}?q={quote(query)}"), queries))
    split = [answer.partition(" ") for answer in answers]
    wrong = [(query, text) for query, (_, _, text) in zip(queries, split, strict=True) if text != query]
    return Answers(wrong, len({pid for pid, _, _ in split}))


def get(port: int, path: str) -> str:
    """The body of one GET over a connection of its own."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], log: Path, path: str) -> Iterator[int]:
    """Runs a server until the block ends; `{port}` in the command is its port.

    Yields:
        The port, once it answers.

    Raises:
        RuntimeError: the server died or was not ready in time; the message ends with its log.
    """
    port = free_port()
    words = [word.format(port=port) for word in command]
    with log.open("ab") as output:
        # A session of its own, so that the workers of a server that was killed can be found.
        process = subprocess.Popen(  # our own command
            words, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_it_answers(process, port, f"{path}?q=ready", log)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            get(port, path)
        except (OSError, http.client.HTTPException):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-3_000:]}") from None
            time.sleep(0.1)
        else:
            return
