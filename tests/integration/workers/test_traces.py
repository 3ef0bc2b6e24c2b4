"""The spans of jobs, from acceptance to commit, made by this process and kept in memory."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from emendo_client import MemoryClient
from emendo_client.errors import NetworkError
from emendo_client.testing import Fault
from emendo_config import traces
from emendo_workers.intake import batch_spans
from emendo_workers.intake.drain import Drain
from tests.support.inferring import Model, told, with_chat
from tests.support.intake import added, bring_back, drain, drain_all, shard_of_job
from tests.support.spans import recording

STEPS = ["open", "decide", "embed", "commit", "settle", "finish"]
SECRETS = ("crayfish", "user-ana-secret", "agent-secret", "run-secret", "meta-secret", "test-key-secret")


@pytest.fixture
def recorded():
    """Records before the worker's parts are made, which ask once whether spans are wanted."""
    with recording() as made:
        yield made


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server, embedding_max_inputs=2)


@pytest.fixture
def model(openai_server):
    """A chat model that finds each sentence to be a fact."""
    return Model(openai_server)


@pytest.fixture
def traced(recorded, services, client, openai_server):
    """A worker and a client that make spans, and those they have made."""
    assert services.store.tally.tracer is not None
    return recorded


def context_fields(services, job) -> list[str | None]:
    values = services.control.hmget(services.keys.job(job.id), traces.TRACEPARENT, traces.TRACESTATE)
    return [value and value.decode() for value in values]


def test_a_job_that_is_alone_is_one_trace_from_acceptance_to_commit(traced, services, client):
    memory_id = added(services, client)
    traced.take()
    job = client.update(memory_id, "I enjoy seafood.")
    drain(services, job)
    spans = traced.take()
    accept, batch = spans.one("accept update"), spans.one("drain interactive")
    assert (accept.kind, accept.parent, batch.kind) == ("PRODUCER", "", "CONSUMER")
    assert accept.attributes["messaging.message.id"] == job.id
    assert (batch.parent, batch.links) == (accept.id, (accept.id,))
    assert [span.name for span in spans.below(batch)] == STEPS
    request = spans.one("embeddings text-embedding-3-small")
    assert (request.kind, request.parent) == ("CLIENT", spans.one("embed").id)
    assert request.attributes["gen_ai.usage.input_tokens"] > 0
    assert request.attributes["gen_ai.provider.name"] == "openai"
    change = spans.one("update_memory")
    assert (change.parent, change.links, change.kind) == (accept.id, (batch.id,), "CONSUMER")
    assert change.attributes == {
        "gen_ai.operation.name": "update_memory",
        "gen_ai.memory.store.id": client.project,
        "gen_ai.memory.record.id": memory_id,
        "gen_ai.memory.record.count": 1,
        "messaging.message.id": job.id,
        "emendo.job.attempt": 1,
        "emendo.job.status": "succeeded",
    }
    assert len({span.trace for span in spans.all}) == 1


def test_each_kind_of_change_has_opentelemetrys_name(traced, services, client):
    memory_id = added(services, client)
    for job in (client.update(memory_id, "b"), client.delete(memory_id), client.restore(memory_id)):
        drain(services, job)
    client.batch_update([{"memory_id": memory_id, "text": "c"}, {"memory_id": memory_id, "metadata": {"a": 1}}])
    drain_all(services)
    spans = [span for span in traced.take().all if "gen_ai.memory.record.count" in span.attributes]
    assert [(span.name, span.attributes["gen_ai.memory.record.count"]) for span in spans] == [
        ("create_memory", 1),
        ("update_memory", 1),
        ("delete_memory", 1),
        ("update_memory", 1),
        ("update_memory", 2),
    ]


def test_a_conversation_has_its_questions_below_it(traced, services, client, model):
    told(services, client, "I dislike seafood.")
    spans = traced.take()
    assert spans.named("upsert_memory")
    questions = [span for span in spans.all if span.attributes.get("gen_ai.operation.name") == "chat"]
    assert questions
    assert {span.kind for span in questions} == {"CLIENT"}
    assert all(span.attributes["gen_ai.usage.output_tokens"] > 0 for span in questions)


def test_jobs_of_many_traces_share_the_steps_and_have_short_spans_of_their_own(traced, services, client, monkeypatch):
    monkeypatch.setattr(batch_spans, "MOST_JOBS", 3)
    memory_id = added(services, client)
    traced.take()
    jobs = [client.update(memory_id, metadata={str(number): number}) for number in range(5)]
    Drain(services, shard_of_job(services, jobs[0])).run()
    spans = traced.take()
    accepted = [span.id for span in spans.named("accept update")]
    batch = spans.one("drain interactive")
    assert batch.attributes["messaging.batch.message_count"] == batch.attributes["emendo.jobs.sampled"] == 5
    assert list(batch.links) == accepted[:3], "no more than it has room for"
    assert [span.parent for span in spans.named("update_memory")] == accepted[:3]
    assert len(spans.below(batch)) == len(STEPS)
    assert len({span.trace for span in spans.all}) == 5


def test_requests_in_threads_of_their_own_have_their_place(traced, services, client):
    client.batch_add([{"messages": f"fact {number}", "user_id": "ana"} for number in range(5)], infer=False)
    drain_all(services)
    spans = traced.take()
    requests = spans.named("embeddings text-embedding-3-small")
    assert len(requests) == 3, "two texts at most in each"
    assert {span.parent for span in requests} == {spans.one("embed").id}


def test_what_its_caller_does_not_sample_is_not_sampled_by_a_worker(traced, services, client, monkeypatch):
    memory_id = added(services, client)
    traced.take()
    with monkeypatch.context() as caller:
        caller.setattr(traces._process, "provider", TracerProvider(sampler=ALWAYS_OFF))
        job = client.update(memory_id, "unseen")
    (traceparent, _) = context_fields(services, job)
    flags = int(traceparent.rpartition("-")[2], 16)
    assert not flags & 1, "the record says that nobody looks"
    drain(services, job)
    assert traced.take().all == []


def test_a_job_of_a_caller_without_traces_begins_one_at_the_worker(traced, services, client, monkeypatch):
    with monkeypatch.context() as caller:
        caller.setattr(traces._process, "provider", None)
        job = client.add("x", user_id="ana", infer=False)
    assert context_fields(services, job) == [None, None]
    drain(services, job)
    spans = traced.take()
    assert (spans.one("drain interactive").parent, spans.one("drain interactive").links) == ("", ())
    assert not spans.named("create_memory"), "it would be a trace of one span"


@pytest.mark.parametrize(
    "traceparent",
    [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "\x00not a context",
    ],
)
def test_a_damaged_context_begins_a_trace_and_harms_no_job(traced, services, client, traceparent):
    job = client.add("x", user_id="ana", infer=False)
    services.control.hset(services.keys.job(job.id), traces.TRACEPARENT, traceparent)
    traced.take()
    drain(services, job)
    assert job.status() == "succeeded"
    assert traced.take().one("drain interactive").parent == ""


def test_the_state_of_other_vendors_goes_on_unless_it_is_too_long(traced, services, client, monkeypatch):
    from opentelemetry.propagate import extract
    from opentelemetry.trace import use_span
    from opentelemetry.trace.propagation import get_current_span

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for state, kept in (("a=1,b=2", "a=1,b=2"), (f"a={'1' * 250},b={'2' * 250},c=3333333", None)):
        with use_span(get_current_span(extract({"traceparent": parent, "tracestate": state}))):
            job = client.add("x", user_id="ana", infer=False)
        found = context_fields(services, job)
        assert found[0].split("-")[1] == parent.split("-")[1], "the caller's trace goes on"
        assert found[1] == kept
    drain_all(services)


def test_each_attempt_is_a_span_of_the_same_trace(traced, services, client, openai_server):
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.add("x", user_id="ana", infer=False)
    drain(services, job)
    first = traced.take()
    failed = first.one("create_memory")
    code = failed.attributes["error.type"]
    assert (failed.error, failed.attributes["emendo.job.status"]) == (code, "retrying")
    assert code.isupper(), "our own code"
    assert all(span.error == code for span in first.named("embeddings text-embedding-3-small"))
    openai_server.faults.clear()
    bring_back(services, job)
    again = traced.take().one("create_memory")
    assert (again.trace, again.parent) == (failed.trace, failed.parent)
    assert (again.attributes["emendo.job.attempt"], again.error) == (2, None)


def test_a_replay_goes_on_in_the_trace_of_its_job(traced, services, client, openai_server):
    openai_server.faults.add(Fault("bad_request", times=1, match="unbearable"))
    job = client.add("unbearable", user_id="ana", infer=False)
    drain(services, job)
    failed = traced.take().one("create_memory")
    assert (failed.attributes["emendo.job.status"], bool(failed.error)) == ("failed", True)
    client.replay(job.id)
    drain_all(services)
    replayed = traced.take().one("create_memory")
    assert (replayed.trace, replayed.parent, replayed.error) == (failed.trace, failed.parent, None)


def test_a_repeated_call_leaves_the_context_of_the_first(traced, services, client):
    first = client.add("x", user_id="ana", infer=False, idempotency_key="once")
    before = context_fields(services, first)
    assert client.add("x", user_id="ana", infer=False, idempotency_key="once").id == first.id
    assert context_fields(services, first) == before
    drain_all(services)


def test_a_search_and_its_query(traced, services, client):
    added(services, client)
    traced.take()
    client.search("fish", user_id="ana")
    client.search("fish", user_id="ana", threshold=1.0)
    spans = traced.take()
    first, second = spans.named("search_memory")
    assert [span.attributes["gen_ai.memory.record.count"] for span in (first, second)] == [1, 0]
    requests = spans.named("embeddings text-embedding-3-small")
    assert requests[0].parent == first.id
    assert {span.kind for span in (first, *requests)} == {"CLIENT"}


def test_an_error_of_a_call_is_its_code(traced, client):
    away = client.settings.model_copy(update={"control_url": "redis://127.0.0.1:1/0"})
    with MemoryClient(away) as other, pytest.raises(NetworkError):
        other.add("x", user_id="ana", infer=False)
    accept = traced.take().one("accept add")
    assert (accept.error, accept.attributes["error.type"]) == ("NETWORK", "NETWORK")


def test_no_span_holds_a_text_a_key_or_a_scope(traced, services, client, openai_server, model):
    scope = {"user_id": SECRETS[1], "agent_id": SECRETS[2], "run_id": SECRETS[3]}
    memory_id = added(services, client, "crayfish", **scope, metadata={"meta-secret": "meta-secret"})
    client.search("crayfish", user_id=SECRETS[1], filters={"metadata": {"meta-secret": "meta-secret"}})
    openai_server.faults.add(Fault("bad_request", times=1, match="crayfish!"))
    drain(services, client.update(memory_id, "crayfish!", actor_id=SECRETS[1], idempotency_key=SECRETS[5]))
    with pytest.raises(ValueError, match="crayfish"), traces.span(services.store.tally.tracer, "step"):
        raise ValueError("crayfish")
    told(services, client, "I eat crayfish.")
    spans = traced.take()
    assert len(spans.all) > 30
    assert [secret for secret in SECRETS if secret in spans.texts()] == []
