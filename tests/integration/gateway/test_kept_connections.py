"""Connections between requests: how long they are kept, how many there are, and which one makes room."""

from __future__ import annotations

import json
import time

from emendo_config import GatewaySettings
from emendo_gateway.server import make_server
from tests.support.gateway import RunningGateway, make_key
from tests.support.patience import until
from tests.support.raw_http import LIVE, asks_again, connected, is_closed, read

MEMORIES = "/api/v1/memories"


def test_a_connection_that_is_not_kept_ends_with_its_answer(start_gateway):
    """Also if its client keeps it."""
    gateway = start_gateway(header_timeout=600.0, body_timeout=600.0)
    client, served = connected(gateway)
    with client:
        client.sendall(LIVE + b"Connection: close\r\n\r\n")
        until(lambda: served not in gateway.server.server_state.connections)


def test_a_kept_connection_outlives_the_wait_for_a_head(emendo_settings):
    with (
        RunningGateway(emendo_settings, header_timeout=0.5, body_timeout=600.0) as running,
        running.connection() as connection,
    ):
        assert asks_again(connection)
        time.sleep(1.1)  # more than twice the time for a head
        assert asks_again(connection)
        connection.sendall(b"GET /health/live HTTP/1.1\r\n")
        assert is_closed(connection), "a head that is not completed keeps its connection"


def test_a_connection_that_is_idle_for_too_long_ends(emendo_settings):
    with RunningGateway(emendo_settings, idle_timeout=0.2) as running, running.connection() as connection:
        assert asks_again(connection)
        assert is_closed(connection)


def test_connections_are_kept_for_longer_than_load_balancers_keep_theirs(emendo_settings):
    assert make_server(emendo_settings, GatewaySettings(), 0).config.timeout_keep_alive > 60


def test_the_connection_that_was_silent_longest_makes_room(emendo_settings):
    with RunningGateway(emendo_settings, max_connections=3) as running:
        connections = running.server.server_state.connections
        with running.connection() as gone:
            assert asks_again(gone)
        until(lambda: not connections)
        first, second, third = (running.connection() for _ in range(3))
        for connection in (second, first, third):
            assert asks_again(connection)
        with running.connection() as fourth:
            assert asks_again(fourth)
            assert len(connections) == 3, "the place of one that is gone was given away"
            assert is_closed(second)
            assert asks_again(first)
            assert asks_again(third)
            for connection in (first, second, third):
                connection.close()


def test_when_all_connections_work_a_new_one_is_told_so(emendo_settings):
    key, _ = make_key(emendo_settings)
    head = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n\r\n"
    with RunningGateway(emendo_settings, max_connections=2) as running:
        busy = [running.connection() for _ in range(2)]
        for connection in busy:
            connection.sendall(head.encode())  # and no body yet
        connections = running.server.server_state.connections
        until(lambda: [each.cycle is not None for each in list(connections)] == [True, True])
        with running.connection() as refused:
            refused.sendall(LIVE + b"\r\n")
            status, fields, body = read(refused)
            assert (status, json.loads(body)["code"], fields["retry-after"]) == (503, "OVERLOADED", "2")
            with running.connection() as cut:
                assert is_closed(cut), "nobody bounds those that are told"
        busy.pop().close()
        until(lambda: len(connections) < 2)
        with running.connection() as admitted:
            assert asks_again(admitted)
        busy.pop().close()
