"""The OpenAPI document is complete and true: schemathesis finds no answer outside of it, and no failure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from emendo_client import errors
from emendo_config import GatewaySettings, Settings
from emendo_config.error_codes import ErrorCode
from emendo_gateway.app import create_app
from emendo_gateway.callers import dialect_of
from emendo_gateway.problems.statuses import status_of
from tests.model.effort import DEEP, LIMIT
from tests.support.fuzzing import fuzz
from tests.support.gateway import RunningGateway, browser, make_key

NATIVE = "/api/v1/"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(), GatewaySettings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((path, operation) for operation in methods.values())


# The document.


def test_every_example_fits_its_schema_and_every_document_has_one(document):
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        assert schema.get("examples") or "enum" in schema, f"{name} has no example"
        form = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in schema.get("examples", ()):
            jsonschema.Draft202012Validator(form).validate(example)
    assert not [name for name in schemas if "__" in name], "a module's name is no name for a client"


def test_an_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names)) > 10
    for path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path


def test_errors_are_problems_in_every_native_answer(document):
    problems = 0
    for path, operation in operations(document):
        answers = operation["responses"]
        assert {"400", "431"} <= answers.keys(), path
        if dialect_of(path) == "native" and path.startswith(NATIVE):
            assert operation["security"] == [{"key": []}]
            for status in (status for status in answers if int(status) >= 400):
                assert list(answers[status]["content"]) == ["application/problem+json"], (path, status)
                problems += 1
            assert "Retry-After" in answers["503"]["headers"]
    assert problems > 50


def test_a_field_of_a_head_is_a_text_and_nothing_given_is_null(document):
    found = [each for _, operation in operations(document) for each in operation.get("parameters", ())]
    assert {each["name"] for each in found} >= {"if-match", "idempotency-key", "prefer", "user_id", "limit"}
    for each in found:
        assert "anyOf" not in each["schema"], each
        assert each["in"] != "header" or each["schema"]["type"] == "string", each


def test_each_status_that_an_error_has_is_documented(document, mem0s):
    """A job that was waited for is answered as the error it failed with, whichever that is."""
    known = [(getattr(errors, code.error_class, None), code) for code in ErrorCode]  # some are of commands only
    statuses = {str(int(status_of(kind("x", error_code=code)))) for kind, code in known if kind}
    statuses -= {"405"}  # which is no answer of an operation
    assert not statuses - {"501"} - document["paths"]["/api/v1/memories/{memory_id}"]["patch"]["responses"].keys()
    assert not statuses - {"412"} - mem0s["paths"]["/v1/memories/{memory_id}/"]["put"]["responses"].keys()


# The answers.


@pytest.fixture
def fuzzed(emendo_worker, openai_server) -> Iterator[tuple[str, str]]:
    """The address of a gateway that takes any number of wrong keys, and a key for a project of this test only."""
    with RunningGateway(emendo_worker, failed_logins_per_minute=1_000_000, max_wait=0.2) as running:
        yield running.url, make_key(emendo_worker, f"fuzzed-{uuid.uuid4().hex[:8]}")[0]


@pytest.mark.slow  # thousands of requests
def test_no_answer_is_a_failure_or_outside_the_schema(fuzzed, tmp_path):
    url, key = fuzzed
    report = fuzz(tmp_path, url, key, phases="examples,coverage", examples=1)
    assert report["operations"]["tested"] == report["operations"]["total"] > 10
    assert report["test_cases"]["generated"] > 500


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("phase", ["fuzzing", "stateful"])
@pytest.mark.parametrize("seed", [1, 2, 3] if DEEP else [1])
def test_no_answer_to_made_up_requests_is_a_failure_or_outside_the_schema(fuzzed, tmp_path, phase, seed):
    """With a few requests of each operation; EMENDO_HYPOTHESIS_PROFILE=deep makes up many."""
    url, key = fuzzed
    report = fuzz(tmp_path, url, key, phases=phase, examples=100 if DEEP else 20, seed=seed)
    tested, total = (report["operations"][name] for name in ("tested", "total"))
    assert tested == total > 10 if phase == "fuzzing" else tested > 10  # not every operation has links to others
    assert report["test_cases"]["generated"] > 100


# mem0's calls.

MEM0 = "/v1/openapi.json"


@pytest.fixture(scope="module")
def mem0s() -> dict[str, Any]:
    with browser(Settings()) as http:
        found: dict[str, Any] = http.get(MEM0).json()
    return found


def test_mem0s_calls_are_a_document_of_their_own(document, mem0s):
    assert {dialect_of(path) for path in mem0s["paths"]} == {"mem0"}
    assert {dialect_of(path) for path in document["paths"]} == {"native"}
    test_every_example_fits_its_schema_and_every_document_has_one(mem0s)
    test_an_operation_has_a_name_of_its_own_and_says_what_it_does(mem0s)
    for path, operation in operations(mem0s):
        assert operation["security"] == [{"key": []}], path
        for status, answer in operation["responses"].items():
            assert list(answer["content"]) == ["application/json"], (path, status)
    assert "ignored" not in str(mem0s["components"]["schemas"]["Add"]["properties"].keys())


@pytest.mark.slow  # mem0's routes share the native ones' foundation, which is fuzzed in both suites
def test_no_answer_to_mem0s_clients_is_a_failure_or_outside_the_schema(fuzzed, tmp_path):
    url, key = fuzzed
    report = fuzz(tmp_path, url, key, phases="examples,coverage", examples=1, document=MEM0)
    assert report["operations"]["tested"] == report["operations"]["total"] > 10
    assert report["test_cases"]["generated"] > 200


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_no_answer_to_thousands_of_mem0s_calls_is_a_failure_or_outside_the_schema(fuzzed, tmp_path):
    url, key = fuzzed
    report = fuzz(tmp_path, url, key, phases="examples,coverage,fuzzing,stateful", examples=40, seed=2, document=MEM0)
    assert report["operations"]["tested"] == report["operations"]["total"] > 10
    assert report["test_cases"]["generated"] > 500


# Methods.


def test_a_path_names_all_its_methods(emendo_settings):
    key, _ = make_key(emendo_settings)
    with browser(emendo_settings) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        for path, methods in {
            "/api/v1/memories": "GET, HEAD, POST",
            "/api/v1/memories/some": "DELETE, GET, HEAD, PATCH, PUT",
            "/api/v1/memories/search": "POST",
            "/health/live": "GET, HEAD",
            "/api/v1/jobs/some/events": "GET",
        }.items():
            for method in ("OPTIONS", "TRACE", "SURPRISE", *(("HEAD",) if methods == "GET" else ())):
                answer = http.request(method, path)
                assert answer.status_code == 405
                assert method == "HEAD" or answer.json()["code"] == "METHOD_NOT_ALLOWED"
                assert answer.headers["allow"] == methods


def test_head_is_answered_as_get_without_the_body(emendo_settings):
    key, _ = make_key(emendo_settings)
    with browser(emendo_settings) as http:
        headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=1"}
        for path, status in {"/health/live": 200, "/api/v1/jobs": 200, "/api/v1/memories/none": 404}.items():
            answers = [http.request(each, path, headers=headers) for each in ("GET", "HEAD")]
            assert [answer.status_code for answer in answers] == [status, status]
            assert answers[0].headers["content-length"] == answers[1].headers["content-length"] != "0"
            assert answers[1].content == b""
        assert http.head("/api/v1/jobs").status_code == 401
