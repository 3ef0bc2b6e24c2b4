"""One trace over three processes: a program, the gateway and a worker, which export their spans to a collector."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.worker import WorkerProcess, environment
from tests.support.gateway import make_key
from tests.support.patience import LONG_PATIENCE, until
from tests.support.spans import Collector
from tests.support.web.servers import serving

pytestmark = pytest.mark.slow

TEXT, USER, META = "crayfish-and-cheese", "user-ana-secret", "metadata-secret"
# A web app with a provider of its own. It asks the gateway as any HTTP client does, and uses the client beside that.
_PROGRAM = f"""
import json, os, sys
import httpx2 as httpx
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from emendo_client import MemoryClient

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("the program")
with tracer.start_as_current_span("a click"):
    fields = {{"Authorization": "Bearer " + os.environ["KEY"], "Prefer": "wait=60"}}
    propagate.inject(fields)
    body = {{"messages": {TEXT!r}, "user_id": {USER!r}, "infer": False, "metadata": {{"m": {META!r}}}}}
    answer = httpx.post(sys.argv[1] + "/api/v1/memories", json=body, headers=fields, timeout=60)
    answer.raise_for_status()
    memory_id = answer.json()["results"][0]["memory_id"]
with tracer.start_as_current_span("another click"), MemoryClient(project="acme") as client:
    client.update(memory_id, {TEXT!r} + "!").wait(60)
    client.search({TEXT!r}, user_id={USER!r})
provider.shutdown()
print(json.dumps(memory_id))
"""


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def worker(emendo_settings, openai_server, collector, tmp_path):
    with WorkerProcess(emendo_settings, tmp_path / "worker.log", variables=collector.variables) as running:
        yield running


def test_a_click_is_one_trace_from_the_program_to_the_commit(emendo_settings, worker, collector, tmp_path):
    variables = {**environment(emendo_settings), **collector.variables}
    key, _ = make_key(emendo_settings, "acme", "write")
    gateway = [sys.executable, "-m", "emendo_ops.cli", "gateway", "--port", "{port}"]
    with serving(gateway, variables, tmp_path / "gateway.log", "/health/live") as port:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, f"http://127.0.0.1:{port}"],
            env={**variables, "KEY": key, "OTEL_SERVICE_NAME": "web-app"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONG_PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        memory_id = json.loads(done.stdout)
        collector.wait("update_memory")
        collector.wait("POST /api/v1/memories")
        collector.wait("drain interactive", 2)
    worker.stop()
    spans = collector.spans
    click, request, accept = spans.one("a click"), spans.one("POST /api/v1/memories"), spans.one("accept add")
    (batch,) = [span for span in spans.named("drain interactive") if span.links == (accept.id,)]
    steps = {span.name: span for span in spans.below(batch)}
    (embedded,) = spans.below(steps["embed"])
    assert [span.process[0] for span in (click, request, accept, batch, steps["commit"], embedded)] == [
        "web-app",
        *["emendo-gateway"] * 2,
        *["emendo-worker"] * 3,
    ]
    assert (request.parent, accept.parent, batch.parent) == (click.id, request.id, accept.id)
    assert embedded.attributes["gen_ai.operation.name"] == "embeddings"
    created = spans.one("create_memory")
    assert (created.parent, created.links) == (accept.id, (batch.id,))
    assert created.attributes["gen_ai.memory.record.id"] == memory_id
    together = (request, accept, batch, embedded, created, *steps.values())
    assert {span.trace for span in together} == {click.trace}
    changed, search = spans.one("update_memory"), spans.one("search_memory")
    assert changed.trace == search.trace == spans.one("another click").trace
    secrets = (TEXT, USER, META, key, "test")  # the last one is the provider's key
    said = "\n".join(f"{dict(span.attributes)} {span.error}" for span in spans.all)
    assert [secret for secret in secrets if secret in said] == []


def test_another_worker_goes_on_in_the_trace_of_a_job_whose_worker_died(  # noqa: PLR0917
    emendo_settings, openai_server, worker, services, collector, tmp_path
):
    openai_server.latency_ms = 3_000  # the job is in the worker's hands when it dies
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with MemoryClient(emendo_settings) as client:
        job = client.add(TEXT, user_id=USER, infer=False)
        services.control.hset(services.keys.job(job.id), "traceparent", parent)
        until(lambda: openai_server.requests, "the worker asked no provider")
        worker.kill()
        openai_server.reset()
        with WorkerProcess(emendo_settings, tmp_path / "other.log", variables=collector.variables):
            assert job.wait(LONG_PATIENCE).status == "succeeded"
            (created,) = collector.wait("create_memory")
    assert (created.trace, created.parent) == tuple(parent.split("-")[1:3])
    assert created.attributes["emendo.job.attempt"] == 2
    (batch,) = [span for span in collector.spans.named("drain interactive") if span.id == created.links[0]]
    assert batch.attributes["emendo.redelivered"] is True


def test_each_process_of_a_prefork_pool_exports_its_own_spans(emendo_settings, openai_server, collector, tmp_path):
    variables = {**environment(emendo_settings), **collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    command = [sys.executable, "-m", "emendo_ops.cli", "worker", "--pool", "prefork", "--concurrency", "2"]
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        with MemoryClient(emendo_settings) as client:
            jobs = [client.add(f"{TEXT} {number}", user_id=USER, infer=False) for number in range(8)]
            assert {job.wait(LONG_PATIENCE).status for job in jobs} == {"succeeded"}, log.read_text()[-3_000:]
    finally:
        process.terminate()
        process.wait(LONG_PATIENCE)
    # Nothing but the end of a process exports here, so no span was lost with it.
    batches = collector.spans.named("drain interactive")
    worked = sum(span.attributes["messaging.batch.message_count"] for span in batches)
    assert worked == len(jobs), log.read_text()[-3_000:]
    assert all(span.process[0] == "emendo-worker" and span.process[1] for span in batches)
