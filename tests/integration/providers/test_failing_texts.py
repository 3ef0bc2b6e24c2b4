"""A text that fails alone fails no other, a provider that refuses all is asked no more, and both cost few requests."""

from __future__ import annotations

import math
import threading

import pytest

from emendo_client.errors import EmendoError
from emendo_client.testing import Fault, Limits
from emendo_client.testing.openai_server.too_long import SERVERS
from emendo_config.queues import INTERACTIVE
from emendo_workers.providers.meter import Meter
from tests.support.intake import added, bring_back, drain, drain_all, let_time_pass, with_settings

POISON = "poison"
TEXTS = [f"text {number:02}" for number in range(63)] + [POISON]
SHORT = Limits(max_tokens=9)


@pytest.fixture
def settings(emendo_settings):
    return emendo_settings.model_copy(
        update={"breaker_failures": 3, "breaker_pause": 600.0, "breaker_longest_pause": 600.0}
    )


@pytest.fixture
def requests(services):
    """The worker's requests."""
    return services.embedding.requests


@pytest.fixture
def form_is_known(requests, openai_server):
    """The server has answered before, so no request looks for the form that it takes."""
    requests.embed(["known"], Meter())
    openai_server.clear_requests()


def errors_of(found) -> dict[str, str]:
    return {text: error.error_code for text, error in found.items() if isinstance(error, EmendoError)}


def counts(server) -> list[int]:
    return [len(request.inputs) for request in server.requests if request.endpoint == "embeddings"]


def breaker(client) -> str:
    return client.health().circuit_breakers["openai"].state


@pytest.mark.parametrize("kind", ["nan", "null", "empty", "infinite", "zero"])
@pytest.mark.usefixtures("form_is_known")
def test_good_vectors_of_an_answer_are_kept_and_only_the_bad_one_is_asked_for_again(requests, openai_server, kind):
    openai_server.faults.add(Fault(kind, match=POISON, rate=1.0))
    assert errors_of(requests.embed(TEXTS, Meter())) == {POISON: "EMBEDDING_MALFORMED"}
    assert counts(openai_server) == [64, 1]
    openai_server.clear_requests()
    assert errors_of(requests.embed(TEXTS, Meter())) == {POISON: "EMBEDDING_MALFORMED"}
    assert sorted(counts(openai_server)) == [1, 63], "from now on it is asked for alone"
    openai_server.faults.clear()
    assert errors_of(requests.embed(TEXTS, Meter())) == {}
    openai_server.clear_requests()
    requests.embed(TEXTS, Meter())
    assert counts(openai_server) == [64], "and no longer, once it was embedded"


@pytest.mark.usefixtures("form_is_known")
def test_a_bad_vector_that_was_an_accident_is_repaired_in_the_same_call(requests, openai_server):
    openai_server.faults.add(Fault("nan", match=POISON))
    assert errors_of(requests.embed(TEXTS, Meter())) == {}
    assert counts(openai_server) == [64, 1]


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "bad_gateway", "reset", "truncated", "malformed_json"])
@pytest.mark.usefixtures("form_is_known")
def test_a_text_over_which_the_server_breaks_is_found_by_halving(requests, openai_server, client, kind):
    openai_server.faults.add(Fault(kind, match=POISON, rate=1.0))
    found = requests.embed(TEXTS, Meter())
    assert list(errors_of(found)) == [POISON]
    # Two tries, a harmless text, two requests for each halving, another harmless text at most.
    assert len(counts(openai_server)) <= 2 + 1 + 2 * math.log2(64) + 1
    assert breaker(client) == "closed"
    openai_server.clear_requests()
    assert list(errors_of(requests.embed(TEXTS, Meter()))) == [POISON]
    assert len(counts(openai_server)) <= 3
    assert breaker(client) == "closed"


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "timeout"])
@pytest.mark.usefixtures("form_is_known")
def test_a_provider_that_is_down_is_not_asked_for_each_half_and_opens_the_breaker(
    requests, openai_server, client, kind
):
    requests._embedder._server._options["timeout"] = 0.3
    requests._embedder.close()
    openai_server.faults.add(Fault(kind, rate=1.0, silence=5))
    assert len(errors_of(requests.embed(TEXTS, Meter()))) == 64
    assert len(counts(openai_server)) <= 3
    requests.embed(TEXTS, Meter())
    assert len(counts(openai_server)) <= 6
    assert breaker(client) == "open"
    asked = len(counts(openai_server))
    assert set(errors_of(requests.embed(TEXTS, Meter())).values()) == {"CIRCUIT_OPEN"}
    assert len(counts(openai_server)) == asked


@pytest.mark.usefixtures("form_is_known")
def test_a_request_too_large_for_its_time_is_halved_and_the_size_is_remembered(requests, openai_server, client):
    requests._embedder._server._options["timeout"] = 1.0
    requests._embedder.close()
    openai_server.input_ms = 40.0  # 25 texts a second: 64 and 32 are too many, 16 are not
    assert errors_of(requests.embed(TEXTS, Meter())) == {}
    first = counts(openai_server)
    assert (first[0], first.count(64), len(first) <= 9) == (64, 1, True)
    openai_server.clear_requests()
    assert errors_of(requests.embed([f"again {text}" for text in TEXTS], Meter())) == {}
    assert max(counts(openai_server)) <= 16, "no request is too large again"
    assert breaker(client) == "closed"


@pytest.mark.parametrize("status", [400, 422, 404])
@pytest.mark.usefixtures("form_is_known")
def test_what_is_refused_alike_is_the_settings_fault_and_costs_a_bounded_number_of_requests(
    requests, services, client, openai_server, status
):
    refuse_everything(openai_server, status)
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(200)]
    batch = client.batch_add([{"messages": f"item {number}", "user_id": "ana"} for number in range(600)], infer=False)
    for _ in range(services.settings.max_attempts + 2):
        drain_all(services)
        let_time_pass(services)
    assert len(counts(openai_server)) <= 20, "not one for each text"
    assert {(job.status(), job.info().attempts) for job in jobs} <= {("retrying", 0), ("queued", 0)}
    assert (client.health().dead, breaker(client)) == (0, "closed")
    assert services.faults.blocks(INTERACTIVE)
    services.faults.look()
    assert services.faults.blocks(INTERACTIVE), "it lasts"
    services.leases.renew()
    (fault,) = client.health().worker_faults.values()
    assert (fault.code, f"with {status}" in fault.message) == ("PROVIDER_REFUSES", True)
    assert "EMENDO_EMBEDDING_MODEL" in fault.suggestion
    openai_server.faults.clear()
    openai_server.limits = Limits()
    openai_server.form = type(openai_server.form)()
    services.faults.look()
    let_time_pass(services)
    drain_all(services)
    assert {job.status() for job in (*jobs, batch)} == {"succeeded"}


def refuse_everything(server, status: int) -> None:
    if status == 404:
        server.limits = Limits(models={"another"})
    else:
        server.form = type(server.form)(refuses={"model"}, status=status)


@pytest.mark.usefixtures("form_is_known")
def test_vectors_of_another_length_for_every_text_are_the_settings_fault(requests, services, client, openai_server):
    openai_server.faults.add(Fault("wrong_dimension", rate=1.0))
    job = client.add("fact", user_id="ana", infer=False)
    drain(services, job)
    assert (job.info().attempts, job.info().error["code"]) == (0, "PROVIDER_REFUSES")
    assert "EMENDO_EMBEDDING_DIMENSIONS=" in job.info().error["suggestion"]
    assert len(counts(openai_server)) <= 3


@pytest.mark.usefixtures("form_is_known")
def test_one_refused_add_after_another_is_each_ones_own_failure(requests, services, client, openai_server):
    openai_server.limits = SHORT
    for number in range(3):
        job = client.add(f"{number} {'la ' * 30}", user_id="ana", infer=False)
        drain(services, job)
        assert (job.status(), job.info().error["code"]) == ("failed", "EMBEDDING_TOO_LONG")
    assert not services.faults.blocks(INTERACTIVE)
    assert added(services, client, "short")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.usefixtures("form_is_known")
def test_a_text_with_too_many_tokens_says_so_whatever_the_server_calls_it(
    requests, services, client, openai_server, server
):
    openai_server.limits = Limits(max_tokens=9, speaks_like=server)
    jobs = [client.add(text, user_id="ana", infer=False) for text in ("short", "la " * 30, "also short")]
    drain_all(services)
    error = jobs[1].info().error
    assert [job.status() for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert (error["code"], jobs[1].info().attempts) == ("EMBEDDING_TOO_LONG", 1)
    assert "EMENDO_MAX_TEXT_CHARS" in error["suggestion"]
    assert "la la" not in str(error)
    assert breaker(client) == "closed"


@pytest.mark.parametrize("kind", ["server_error", "timeout", "nan", "reset"])
@pytest.mark.usefixtures("form_is_known")
def test_poison_spends_its_attempts_and_delays_nobody(requests, services, client, openai_server, kind):
    """Before, one such text opened the breaker for all, came back for free, and was asked for without end."""
    requests._embedder._server._options["timeout"] = 0.3
    requests._embedder.close()
    with_settings(services, client, max_attempts=4)
    breaker_of = requests._admission._breaker
    breaker_of._settings = services.settings.model_copy(update={"breaker_failures": 1})
    openai_server.faults.add(Fault(kind, match=POISON, rate=1.0, silence=5))
    job = client.add(POISON, user_id="eve", infer=False)
    drain(services, job)
    for attempt in range(1, 5):
        innocent = client.add(f"innocent {attempt}", user_id="ana", infer=False)
        drain_all(services)
        assert (innocent.status(), innocent.info().attempts) == ("succeeded", 1)
        assert job.info().attempts == attempt
        if attempt < 4:
            bring_back(services, job)
    assert (job.status(), breaker(client)) == ("failed", "closed")
    # Its own requests, and harmless ones; the first attempt has quick tries besides.
    asked = [request for request in openai_server.requests if "innocent" not in str(request.inputs)]
    assert len(asked) <= 2 * 4 + 2


@pytest.mark.usefixtures("form_is_known")
def test_a_half_open_breaker_is_closed_by_a_harmless_text_when_the_probe_is_poison(
    requests, services, client, openai_server
):
    openai_server.faults.add(Fault("unavailable", rate=1.0))
    requests.embed(["a"], Meter())
    assert breaker(client) == "open"
    openai_server.faults.clear()
    openai_server.faults.add(Fault("server_error", match=POISON, rate=1.0))
    services.control.hset(services.keys.breaker("openai"), "until", 1)
    assert list(errors_of(requests.embed([POISON], Meter()))) == [POISON]
    assert breaker(client) == "closed"
    assert errors_of(requests.embed(["innocent"], Meter())) == {}


@pytest.mark.usefixtures("form_is_known")
def test_many_threads_that_fail_at_once_share_the_harmless_text(requests, openai_server):
    openai_server.limits = Limits(models={"another"})
    openai_server.latency_ms = 200
    start = threading.Barrier(8)

    def fail(number: int) -> None:
        start.wait()
        requests.embed([f"text {number}"], Meter())

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harmless = [request for request in openai_server.requests if request.inputs == ["probe"]]
    assert 1 <= len(harmless) < len(threads)


@pytest.mark.usefixtures("form_is_known")
def test_the_log_has_the_providers_code_and_no_text(requests, openai_server, caplog):
    openai_server.limits = SHORT
    secret = "seafood " * 9
    requests.embed(["short", secret], Meter())
    (record,) = [each for each in caplog.records if "fail alone" in each.message]
    assert (record.texts, record.error, record.provider_code) == (1, "EMBEDDING_TOO_LONG", "context_length_exceeded")
    assert "seafood" not in caplog.text


@pytest.mark.usefixtures("form_is_known")
def test_a_used_up_quota_spends_no_attempts_is_said_once_and_blocks_no_delete(
    requests, services, client, openai_server, caplog
):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("quota", rate=1.0))
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(20)]
    for _ in range(services.settings.max_attempts + 2):
        drain_all(services)
        let_time_pass(services)
    assert {(job.status(), job.info().attempts) for job in jobs} == {("retrying", 0)}
    assert {job.info().error["code"] for job in jobs} == {"QUOTA_EXCEEDED"}
    assert caplog.text.count("a fault of its own") == 1
    services.faults.look()
    services.leases.renew()
    (fault,) = client.health().worker_faults.values()
    assert (fault.code, fault.queues, "code insufficient_quota" in fault.message) == ("QUOTA_EXCEEDED", [], True)
    delete = client.delete(memory_id)
    drain(services, delete)
    assert delete.status() == "succeeded"
    openai_server.faults.clear()
    services.faults.look()
    let_time_pass(services)
    drain_all(services)
    assert {job.status() for job in jobs} == {"succeeded"}
    services.leases.renew()
    assert client.health().worker_faults == {}


@pytest.mark.usefixtures("form_is_known")
def test_a_large_call_asks_no_more_once_everything_is_refused(requests, services, openai_server):
    requests._settings = services.settings.model_copy(update={"embedding_max_inputs": 4})
    refuse_everything(openai_server, 404)
    found = requests.embed([f"text {number}" for number in range(1_000)], Meter())
    assert set(errors_of(found).values()) == {"PROVIDER_REFUSES"}
    assert len(counts(openai_server)) <= 32, "not one for each of 250 requests"
