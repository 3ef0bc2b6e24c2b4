"""The server's limits: as many connections as the system has files for, and the settings that uvicorn gets."""

from __future__ import annotations

import resource
import signal

import pytest

from emendo_config import GatewaySettings, Settings
from emendo_gateway.server import make_server

NO_LIMIT = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """The soft and the hard limit of open files, which no test may change in its own process."""
    known = [NO_LIMIT, NO_LIMIT]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(known))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: known.__setitem__(slice(None), wanted))
    return known


# For 800 connections: 100 more are told that there is no room, and 256 files are for other uses.
@pytest.mark.parametrize(
    ("before", "after", "places"),
    [
        ((NO_LIMIT, NO_LIMIT), (NO_LIMIT, NO_LIMIT), 800),
        ((1_156, 1_156), (1_156, 1_156), 800),
        ((1_155, 9_999), (1_156, 9_999), 800),
        ((1_155, NO_LIMIT), (1_156, NO_LIMIT), 800),
        ((100, 1_155), (1_155, 1_155), 799),
        ((256, 256), (256, 256), 1),
        ((100, 100), (100, 100), 1),
    ],
)
def test_there_are_no_more_connections_than_files(limits, caplog, before, after, places):
    limits[:] = before
    server = make_server(Settings(), GatewaySettings(max_connections=800), 0)
    assert tuple(limits) == after
    assert server.config.http.most_connections == places
    assert [f"({after[0]})" in line for line in caplog.messages] == ([True] if places < 800 else [])


@pytest.mark.parametrize(("seconds", "told"), [(0.2, 1), (7.6, 8)])
def test_uvicorn_gets_the_gateways_limits_and_says_little(limits, seconds, told):
    own = GatewaySettings(host="::1", shutdown_timeout=seconds, idle_timeout=9.5, max_header_bytes=2_000)
    config = make_server(Settings(), own, 0).config
    assert (config.host, config.ws, config.access_log, config.server_header) == ("::1", "none", False, False)
    assert (config.timeout_graceful_shutdown, config.timeout_keep_alive) == (told, 9.5)
    assert config.h11_max_incomplete_event_size == 2_000
    assert (config.proxy_headers, config.log_config) == (False, None)


def test_each_limit_of_a_connection_is_its_own_setting(limits):
    own = {"header_timeout": 1.0, "body_timeout": 2.0, "request_timeout": 3.0, "max_body_bytes": 1_024}
    connection = make_server(Settings(), GatewaySettings(**own), 0).config.http
    assert (connection.head_timeout, connection.body_timeout, connection.answer_timeout) == (1.0, 2.0, 3.0)
    assert connection.most_dropped == 16 << 10
    other = make_server(Settings(), GatewaySettings(), 0).config.http
    assert other.waiting is not connection.waiting, "one gateway would make room in another one"


def test_a_server_that_is_stopped_ends(limits):
    server = make_server(Settings(), GatewaySettings(), 0)
    server.stop()
    assert server.should_exit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_gateway_and_the_server(limits, monkeypatch, number):
    server = make_server(Settings(), GatewaySettings(), 0)
    stopped = []
    monkeypatch.setattr(server._gateway, "stop", lambda: stopped.append(number))
    server.handle_exit(number, None)
    assert (stopped, server.should_exit, server._captured_signals) == ([number], True, [number])
