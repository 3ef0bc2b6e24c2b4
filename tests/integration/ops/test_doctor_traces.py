"""`emendo doctor` on traces: nothing without them, and a warning when no collector listens."""

from __future__ import annotations

import os

import pytest

from emendo_client.testing.ports import free_port
from emendo_config import Settings
from emendo_ops.doctor import traces as doctor
from emendo_ops.doctor.traces import check_traces
from tests.support.spans import Collector

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def found(**settings):
    return [(finding.state, finding.found) for finding in check_traces(Settings(**settings))]


def test_nothing_is_said_where_no_spans_are_wanted(monkeypatch):
    assert found() == []
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    assert found(traces="off") == []


def test_a_collector_that_listens(monkeypatch):
    with Collector() as collector:
        address = collector.variables[ENDPOINT]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{address}/v1/traces")
        monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
        assert found() == [("ok", f"a collector listens at {address.removeprefix('http://')}")], "the nearer variable"


def test_a_collector_that_is_away(monkeypatch):
    port = free_port()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
    assert found() == [("warn", f"no collector at 127.0.0.1:{port} (ConnectionRefusedError); spans are lost")]


@pytest.mark.parametrize("address", ["127.0.0.1", "http://[", "http://host:port"])
def test_what_is_no_address_is_told_without_its_words(monkeypatch, address):
    monkeypatch.setenv(ENDPOINT, address)
    assert found() == [("warn", f"{ENDPOINT} is no address")]


def test_a_missing_extra_is_a_failure_where_spans_were_asked_for(monkeypatch):
    monkeypatch.setattr(doctor, "missing", lambda extras: {"opentelemetry.sdk": "traces"})
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    assert [state for state, _ in [*found(), *found(traces="otlp")]] == ["warn", "fail"]
