"""`python -m emendo_client.testing`: the OpenAI-protocol server alone; its base URL is the first line it prints."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_client.testing.ports import HIGHEST_PORT, LOOPBACK


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emendo_client.testing", description=__doc__)
    parser.add_argument("--port", type=_port, default=0, help="0 picks a free one")
    parser.add_argument("--host", default=LOOPBACK, help="the address to listen at; 0.0.0.0 within a container")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--api-key", default="", help="refuse other keys")
    parser.add_argument("--dimensions", type=int, default=1536, help="when the request does not say")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="at most so much more, at random")
    parser.add_argument("--seed", type=int, default=0, help="of the jitter and of faults with a rate")
    parser.add_argument("--ready-file", type=Path, help="holds the base URL while the server answers")
    given = parser.parse_args()
    ready: Path | None = given.ready_file
    if ready is not None:
        # A file left by a killed run would name an address at which nobody answers.
        ready.unlink(missing_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with OpenAIServer(
        given.port,
        given.latency_ms,
        given.api_key,
        given.dimensions,
        given.seed,
        host=given.host,
        jitter_ms=given.jitter_ms,
    ) as server:
        if ready is not None:
            _write_whole(ready, server.base_url + "\n")
        print(server.base_url, flush=True)  # noqa: T201  # callers read it
        stop.wait()
    if ready is not None:
        ready.unlink(missing_ok=True)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port: those go from 0 to {HIGHEST_PORT}")
    return int(text)


def _write_whole(path: Path, text: str) -> None:
    # Written under another name first, so that nobody reads half of it.
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
