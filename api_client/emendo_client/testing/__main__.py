"""`python -m emendo_client.testing`: the OpenAI-protocol server alone; its base URL is the first line it prints."""

from __future__ import annotations

import argparse
import signal
import threading

from emendo_client.testing.server import OpenAIServer


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emendo_client.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--api-key", default="", help="refuse other keys")
    parser.add_argument("--dimensions", type=int, default=1536, help="when the request does not say")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with OpenAIServer(given.port, given.latency_ms, given.api_key, given.dimensions) as server:
        print(server.base_url, flush=True)  # noqa: T201  # what callers read
        stop.wait()


if __name__ == "__main__":
    main()
