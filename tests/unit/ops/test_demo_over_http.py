"""The demo's call over HTTP shows no key, and its claim fails when the gateway does not find the memory."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from emendo_ops.demo import over_http
from emendo_ops.demo.checks import Checks

KEY = "em_id_hush"


@contextmanager
def answering(body: str) -> Iterator[tuple[str, list[tuple[str, str, dict]]]]:
    """The address of a server that always gives one answer, and what it was asked: path, key and body."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], json.loads(content)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shown(url: str) -> tuple[str, Checks]:
    written, checks = io.StringIO(), Checks(Console(file=io.StringIO()))
    stack = {"gateway_url": url, "gateway_key": KEY}
    over_http.show(stack, "fish?", "m1", Console(file=written, width=140), checks)
    return written.getvalue(), checks


@pytest.mark.parametrize("by", ["curl", "httpx"])
@pytest.mark.parametrize(("answer", "held"), [('{"results": [{"id": "m1"}]}', 1), ('{"results": []}', 0), ("[oops", 0)])
def test_the_command_and_its_answer_are_shown_and_checked(by, answer, held, monkeypatch):
    if by == "httpx":
        monkeypatch.setattr(over_http, "_curl", lambda: None)
    elif shutil.which("curl") is None:
        pytest.skip("curl is not here")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(answer) as (url, asked):
        output, checks = shown(url)
    question = {"query": "fish?", "user_id": "ana", "limit": 1}
    assert asked == [("/api/v1/memories/search", f"Bearer {KEY}", question)]
    assert (checks.held, len(checks.failed)) == (held, 1 - held)
    assert f"curl -s {url}/api/v1/memories/search" in output
    assert answer in output
    assert KEY not in output
    assert ("httpx sent the same" in output) is (by == "httpx")


@pytest.mark.parametrize("by", ["curl", "httpx"])
def test_a_gateway_that_is_away_is_a_claim_that_fails(by, monkeypatch):
    if by == "httpx":
        monkeypatch.setattr(over_http, "_curl", lambda: None)
    elif shutil.which("curl") is None:
        pytest.skip("curl is not here")
    _, checks = shown("http://127.0.0.1:1")
    assert len(checks.failed) == 1


def test_curl_is_not_taken_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "curl").write_text("#!/bin/sh\n")
    (tmp_path / "curl").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".:")
    assert over_http._curl() is None
