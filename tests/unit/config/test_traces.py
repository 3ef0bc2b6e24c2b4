"""When a process makes spans, and what it needs for that."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from emendo_config import ConfigurationError, Settings, traces
from emendo_config.errors import EmendoError
from tests.support.absent_modules import run_without
from tests.support.patience import PATIENCE
from tests.support.spans import recording

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def process(monkeypatch):
    """This process, which has no provider before and after."""
    monkeypatch.setattr(traces._process, "provider", None)
    yield traces._process
    if traces._process.provider is not None:
        traces._process.provider.shutdown()


@pytest.mark.parametrize(
    ("setting", "variables", "wanted"),
    [
        (None, {}, False),
        (None, {ENDPOINT: NOWHERE}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, True),
        (None, {ENDPOINT: NOWHERE, "OTEL_TRACES_EXPORTER": "none"}, False),
        (None, {ENDPOINT: NOWHERE, "OTEL_SDK_DISABLED": "true"}, False),
        ("otlp", {}, True),
        ("otlp", {"OTEL_SDK_DISABLED": "true"}, False),
        ("off", {ENDPOINT: NOWHERE}, False),
    ],
)
def test_who_wants_spans(monkeypatch, setting, variables, wanted):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert traces.are_wanted(Settings(traces=setting)) is wanted


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("EMENDO_TRACES", "")
    assert Settings().traces is None


def test_a_process_makes_one_provider(process):
    settings = Settings(traces="otlp")
    assert traces.tracer(settings) is None
    traces.begin(settings, "emendo-worker")
    first = process.provider
    traces.begin(settings, "emendo-worker")
    assert process.provider is first
    assert traces.tracer(settings) is not None
    assert first.resource.attributes["service.name"] == "emendo-worker"


def test_the_standard_variables_win(process, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "memories")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    traces.begin(Settings(traces="otlp"), "emendo-worker")
    assert process.provider.resource.attributes["service.name"] == "memories"
    assert process.provider.sampler.get_description() == "AlwaysOffSampler"


def test_another_protocol_is_refused_where_spans_were_asked_for_and_else_told(process, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError, match="another protocol"):
        traces.begin(Settings(traces="otlp"), "emendo-worker")
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    with caplog.at_level(logging.WARNING):
        traces.begin(Settings(), "emendo-worker")
    assert "no traces: spans are exported with http/protobuf" in caplog.text
    assert process.provider is None


def test_off_is_off_also_in_a_program_that_makes_spans():
    with recording():
        assert traces.tracer(Settings(traces="off")) is None
        assert traces.tracer(Settings()) is not None


def test_a_span_says_of_an_error_its_code_and_never_its_words():
    with recording() as recorded:
        tracer = traces.tracer(Settings())
        for error in (ValueError("crayfish"), EmendoError("crayfish", error_code="BROKEN")):
            with pytest.raises(type(error)), traces.span(tracer, "step"):
                raise error
    first, second = recorded.take().all
    assert (first.error, second.error) == ("ValueError", "BROKEN")


_QUIET = """
import sys
from emendo_client import MemoryClient, Settings
from emendo_config import traces
import emendo_workers.services
traces.begin(Settings(), "emendo-worker")
assert traces.tracer(Settings()) is None
MemoryClient(Settings()).close()
# redis-py imports the API, and the part of the SDK for metrics, where they are installed.
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk.trace", "opentelemetry.exporter"))])
"""
_MISSING = """
from emendo_config import Settings, traces
try:
    traces.begin(Settings(traces="otlp"), "emendo-worker")
except Exception as error:
    print(type(error).__name__, error.suggestion)
"""
_PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from emendo_config import Settings, traces
assert traces.tracer(Settings()) is None
trace.set_tracer_provider(TracerProvider())
traces.begin(Settings(traces="otlp"), "emendo-worker")
print(traces.provider(Settings()) is trace.get_tracer_provider(), traces._process.provider)
"""
_FORKING = """
import os
from emendo_config import Settings, traces
settings = Settings(traces="otlp")
traces.begin(settings, "emendo-worker")
name = lambda: traces.provider(settings).resource.attributes["service.instance.id"]
ours, (reading, writing) = name(), os.pipe()
child = os.fork()
if not child:
    before = traces.tracer(settings)
    traces.begin(settings, "emendo-worker")
    os.write(writing, f"{before} {name() != ours}".encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reading, 100).decode(), name() == ours)
"""


def ran(program: str, **variables: str) -> str:
    # Nothing listens there: the spans of these programs are nobody's.
    environment = {**os.environ, "EMENDO_EMBEDDING_PROVIDER": "local", **variables}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_of_opentelemetry_is_imported_while_nobody_wants_spans():
    assert ran(_QUIET) == "[]"


def test_a_missing_extra_is_named():
    done = run_without(["opentelemetry"], _MISSING)
    assert done.stdout.strip() == "ConfigurationError pip install 'emendo[traces]', or set EMENDO_TRACES=off", (
        done.stderr
    )


def test_the_provider_of_the_program_is_used_and_no_other_is_made():
    assert ran(_PROGRAM) == "True None"


def test_a_forked_process_makes_a_provider_of_its_own():
    assert ran(_FORKING) == "None True True"
