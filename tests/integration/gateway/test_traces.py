"""The spans of requests: FastAPI's own, which go on in the caller's trace and say nothing that the caller wrote."""

from __future__ import annotations

import pytest

from emendo_config import Keys
from emendo_config.store.connections import connect
from tests.support.gateway import browser, make_key
from tests.support.spans import recording

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "crayfish"


@pytest.fixture(scope="module")
def recording_http(emendo_worker):
    """The application of a process that makes spans, beside the session's worker."""
    with recording() as recorded, browser(emendo_worker) as made:
        yield recorded, made


@pytest.fixture
def recorded(recording_http):
    recording_http[0].take()
    return recording_http[0]


@pytest.fixture
def http(recording_http, emendo_worker):
    """It is asked with a key that may write."""
    made = recording_http[1]
    made.headers["Authorization"] = f"Bearer {make_key(emendo_worker, 'acme', 'write')[0]}"
    return made


@pytest.fixture
def carried(emendo_worker):
    """Reads the context that a job's record carries: `traceparent` in its parts, and `tracestate`."""

    def read(job_id: str) -> tuple[list[str], str]:
        with connect(emendo_worker.control_url, emendo_worker) as connection:
            record = Keys(emendo_worker.key_prefix).job(job_id)
            found = [(value or b"").decode() for value in connection.hmget(record, "traceparent", "tracestate")]
        return found[0].split("-"), found[1]

    return read


def add(http, traceparent: str | None, **more):
    fields = {"traceparent": traceparent, **more} if traceparent is not None else more
    body = {"messages": SECRET, "user_id": SECRET, "infer": False, "metadata": {SECRET: SECRET}}
    answer = http.post("/api/v1/memories", json=body, headers=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


def test_the_trace_of_the_caller_goes_on_through_the_gateway_into_the_record(recorded, http, carried):
    job_id = add(http, f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    spans = recorded.take()
    request, accept = spans.one("POST /api/v1/memories"), spans.one("accept add")
    assert (request.kind, request.trace, request.parent) == ("SERVER", TRACE, PARENT)
    assert (accept.trace, accept.parent) == (TRACE, request.id)
    assert len(spans.all) == 2, "no span comes twice"
    assert carried(job_id) == (["00", TRACE, accept.id, "01"], "vendor=1")
    assert request.attributes["http.route"] == "/api/v1/memories"
    assert request.attributes["http.response.status_code"] == 202


@pytest.mark.parametrize("invalid", ["", "00-x-y-01", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", SECRET])
def test_an_invalid_context_is_ignored(recorded, http, invalid):
    add(http, invalid)
    request = recorded.take().one("POST /api/v1/memories")
    assert (request.parent, request.trace != TRACE) == ("", True)


def test_a_caller_who_does_not_sample_is_not_sampled(recorded, http, carried):
    job_id = add(http, f"00-{TRACE}-{PARENT}-00")
    assert recorded.take().all == []
    (_, trace, _, flags), _ = carried(job_id)
    assert (trace, flags) == (TRACE, "00")


def test_addresses_queries_and_bodies_stay_out(recorded, http):
    add(http, None)
    assert http.get("/api/v1/memories", params={"user_id": SECRET}).status_code in (200, 503)
    assert http.get(f"/v1/entities/user/{SECRET}/").status_code
    assert http.get(f"/{SECRET}").status_code == 404
    assert http.request(SECRET.upper(), "/api/v1/memories").status_code == 405
    spans = recorded.take()
    assert len([span for span in spans.all if span.kind == "SERVER"]) == 5
    assert SECRET not in spans.texts().lower()
    assert not {"url.path", "url.query"} & {name for span in spans.all for name in span.attributes}


def test_an_error_is_told_by_its_code(recorded, http):
    assert http.get("/api/v1/jobs/8e03978e-40d5-43dd-bc93-6894a57f9324").status_code == 404
    refused = recorded.take().one("GET /api/v1/jobs/{job_id}")
    assert (refused.attributes["emendo.error_code"], refused.error) == ("JOB_NOT_FOUND", None)
    http.headers["Authorization"] = "Bearer em_wrong"
    assert http.get("/api/v1/memories").status_code == 401
    assert recorded.take().one("GET").attributes["emendo.error_code"] == "KEY_REFUSED"


def test_probes_and_scrapes_make_no_spans(recorded, http):
    for path in ("/health", "/health/live", "/metrics", "/openapi.json"):
        http.get(path)
    assert recorded.take().all == []


def test_a_gateway_without_traces_makes_none_and_passes_none_on(emendo_worker, carried):
    off = emendo_worker.model_copy(update={"traces": "off"})
    with recording() as recorded, browser(off, auth="off") as http:
        job_id = add(http, f"00-{TRACE}-{PARENT}-01")
        assert recorded.take().all == []
    assert carried(job_id) == ([""], "")
