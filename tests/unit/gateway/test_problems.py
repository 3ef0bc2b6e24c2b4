"""A problem tells what is wrong and no value that the caller, or a memory, may have held."""

from __future__ import annotations

import json

import pytest

from emendo_client.errors import EmendoError, NetworkError, ValidationError
from emendo_config.error_codes import ErrorCode
from emendo_gateway.callers import RequestState
from emendo_gateway.problems.problem import problem_of
from emendo_gateway.problems.refusals import unexpected, unfit


def told(problem, dialect="native"):
    """The document of an answer, and its fields."""
    _, fields, body = problem.response(RequestState("id", dialect))
    fields = dict(fields)
    assert int(fields[b"content-length"]) == len(body)
    return json.loads(body), fields


def test_both_dialects_tell_the_same():
    error = ValidationError("no `text`", suggestion="send `text`")
    native, fields = told(problem_of(error))
    assert fields[b"content-type"] == b"application/problem+json"
    assert native == {
        "type": "/errors/VALIDATION",
        "title": ErrorCode.VALIDATION.meaning.replace("`", ""),
        "status": 400,
        "detail": "no `text`",
        "code": "VALIDATION",
        "request_id": "id",
        "advice": "send text",
    }
    mem0, fields = told(problem_of(error), "mem0")
    assert fields[b"content-type"] == b"application/json"
    assert mem0 == {
        "detail": "no `text` (send text)",
        "code": "VALIDATION",
        "request_id": "id",
        "advice": "send text",
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_a_title_and_an_advice_are_plain_text(code):
    found = problem_of(EmendoError("x", error_code=code))
    assert found.title
    assert found.advice == code.advice.replace("`", "")
    assert "`" not in found.title


def test_an_answer_has_the_fields_of_its_problem_and_members_of_its_own():
    document, fields = told(problem_of(NetworkError("away"), headers=((b"allow", b"GET"),), url="/x"))
    assert (fields[b"allow"], fields[b"retry-after"], document["url"]) == (b"GET", b"2", "/x")


def test_details_are_ids_and_numbers():
    safe = {"job_id": "j", "memory_id": "m", "conflict_id": "c", "project": "p", "allowed": "a"}
    plain = {"current_version": None, "count": 1, "share": 0.5, "is_first": True}
    unsafe = {"text": "classified", "query": ["classified"], "memory": {"a": "classified"}, "job_id_": "classified"}
    found, _ = told(problem_of(EmendoError("x", details={**safe, **plain, **unsafe})))
    assert found["details"] == {**safe, **plain}
    found, _ = told(problem_of(EmendoError("x", details={"job_id": ["classified"]})))
    assert "details" not in found


def test_half_of_a_pair_of_surrogates_is_no_failure():
    assert told(problem_of(EmendoError("a\ud800b")))[0]["detail"] == "a?b"


def test_a_defect_is_logged_without_its_words(caplog):
    def fail():
        raise KeyError("class" + "ified")  # a traceback shows this line

    with pytest.raises(KeyError) as raised:
        fail()
    found, _ = told(unexpected(raised.value))
    assert (found["status"], found["code"]) == (500, "UNEXPECTED")
    assert "KeyError" in caplog.text
    assert "in fail" in caplog.text
    assert "classified" not in caplog.text + str(found)


def failure(kind="missing", *where, message="Input should be a number"):
    return {"type": kind, "loc": where, "msg": message, "input": "classified", "ctx": {"given": "classified"}}


@pytest.mark.parametrize(
    ("failures", "is_json", "code", "errors"),
    [
        ([failure("missing", "body", "a")], True, "VALIDATION", [("body.a", "is missing")]),
        ([failure("extra_forbidden", "body", "b")], True, "VALIDATION", [("body.b", "there is no such field")]),
        ([failure("float", "query", 3)], True, "VALIDATION", [("query.3", "Input should be a number")]),
        (
            [failure("float", "body", "x" * 101)],
            True,
            "VALIDATION",
            [("body." + "x" * 100, "Input should be a number")],
        ),
        ([failure("float", "a"), failure("float", "b")], True, "VALIDATION", [("a", ...), ("b", ...)]),
        ([failure("float", "body")], True, "VALIDATION", [("body", ...)]),
        ([failure("float", "body")], False, "UNSUPPORTED_MEDIA_TYPE", None),
        ([failure("missing", "body")], False, "VALIDATION", [("body", "is missing")]),
        ([failure("float", "query", "a")], False, "VALIDATION", [("query.a", ...)]),
    ],
)
def test_fields_that_do_not_fit_are_named_and_not_shown(failures, is_json, code, errors):
    found, _ = told(unfit(failures, is_json=is_json).problem)
    assert (found["code"], "classified" in str(found)) == (code, False)
    named = [(each["field"], each["message"]) for each in found.get("errors", ())]
    assert named == [(field, "Input should be a number" if words is ... else words) for field, words in errors or ()]
    assert errors is None or found["detail"] == ": ".join(named[0])


def test_no_more_fields_are_named_than_help():
    found, _ = told(unfit([failure("missing", "body", str(n)) for n in range(30)], is_json=True).problem)
    assert [each["field"] for each in found["errors"]] == [f"body.{n}" for n in range(20)]
