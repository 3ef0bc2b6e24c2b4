"""The table of routes and the plans of their functions: what they take is what FastAPI reads, or an error at once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from fastapi import Cookie, Depends, FastAPI, Form, Header, Query, Request, Response
from pydantic import BaseModel

from emendo_client.errors import NotFoundError
from emendo_gateway.callers import begin, state_of
from emendo_gateway.dispatch import Dispatch, Table
from emendo_gateway.problems.refusals import Refusal


class Body(BaseModel):
    text: str


async def plain() -> Response:
    return Response()


async def _seen(request: Request, tag: Annotated[list[str] | None, Header()] = None) -> list[str]:
    return [request.method, *(tag or ())]


def table_of(*routes: tuple[str, str, Any]) -> Table:
    app = FastAPI(openapi_url=None)
    for method, path, function in routes:
        app.add_api_route(path, function, methods=[method])
    table = Table()
    table.fill(app.routes)
    return table


async def ask(table: Table, method: str, path: str, query: str = "", body: bytes = b"", **fields: str) -> Any:
    """The JSON that the route answers with. A field with line breaks is sent once for each line."""
    given = [
        (name.replace("_", "-").encode(), value.encode())
        for name, values in fields.items()
        for value in values.splitlines()
    ]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": given}
    begin(scope, "id").body = body
    sent: list[Any] = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await Dispatch(FastAPI(), table)(scope, receive, send)
    return json.loads(sent[1]["body"])


async def everything(
    item: str,
    body: Body,
    seen: Annotated[list[str], Depends(_seen)],
    *,
    limit: Annotated[int, Query(ge=1)] = 7,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    return Response(json.dumps([item, body.text, seen, limit, last_event_id]))


async def test_a_function_gets_what_its_declarations_name():
    table = table_of(("POST", "/items/{item}", everything))
    json_type = {"content_type": "application/json"}
    found = await ask(
        *(table, "POST", "/items/a", "limit=3&limit=4", b'{"text": "x"}'),
        **{"tag": "t\nu", "last_event_id": "9\n8", **json_type},
    )
    assert found == ["a", "x", ["POST", "t", "u"], 4, "9"]
    assert await ask(table, "POST", "/items/a", "", b'{"text": "x"}', **json_type) == ["a", "x", ["POST"], 7, None]


@pytest.mark.parametrize(
    ("query", "body", "content_type", "wrong"),
    [
        ("limit=0", b'{"text": 1}', "application/json", ["query.limit", "body.text"]),
        ("", b"", "application/json", ["body"]),
        ("limit=x", b'{"text": "x"}', "application/problem+json; charset=utf-8", ["query.limit"]),
    ],
)
async def test_everything_that_is_wrong_is_told_at_once(query, body, content_type, wrong):
    table = table_of(("POST", "/items/{item}", everything))
    with pytest.raises(Refusal) as refused:
        await ask(table, "POST", "/items/a", query, body, content_type=content_type)
    assert [each.field for each in refused.value.problem.fields] == wrong
    assert refused.value.problem.status == 400


async def test_a_body_that_is_not_declared_as_json_is_none():
    table = table_of(("POST", "/items/{item}", everything))
    with pytest.raises(Refusal) as refused:
        await ask(table, "POST", "/items/a", "", b'{"text": "x"}', content_type="text/plain")
    assert refused.value.problem.status == 415


async def _text(body: Body, number: Annotated[int, Query(validation_alias="n")] = 0) -> str:
    return f"{body.text}{number}"


async def _gone() -> None:
    raise NotFoundError("nothing is there")


async def of_a_dependency(request: Request, text: Annotated[str, Depends(_text)]) -> Response:
    return Response(json.dumps([text, sorted(state_of(request.scope).query_names)]))


async def of_two(text: Annotated[str, Depends(_text)], gone: Annotated[None, Depends(_gone)]) -> Response:
    return Response(json.dumps([text, gone]))


async def test_a_dependency_has_parameters_of_its_own():
    table = table_of(("POST", "/x", of_a_dependency), ("POST", "/two", of_two))
    fields = {"content_type": "application/json"}
    assert await ask(table, "POST", "/x", "n=3&number=4", b'{"text": "x"}', **fields) == ["x3", ["n"]]
    with pytest.raises(NotFoundError):  # the next one is called also when a parameter of the first is wrong
        await ask(table, "POST", "/two", "n=x", b'{"text": "x"}', **fields)


async def no_response() -> dict[str, int]:
    return {}


async def test_a_function_that_returns_no_response_is_a_defect():
    with pytest.raises(TypeError, match="returns no Response"):
        await ask(table_of(("GET", "/x", no_response)), "GET", "/x")


def test_paths_and_methods():
    table = table_of(
        *(("GET", "/a/fixed", plain), ("GET", "/a/{one}", plain), ("PUT", "/a/{one}", plain)),
        ("GET", "/a/{one}/end", plain),
    )
    assert table.find("/a/fixed", "GET")[1] == {}
    assert table.find("/a/fixed", "PUT")[1] == {"one": "fixed"}
    assert table.find("/a/b c", "GET")[1] == {"one": "b c"}
    for path in ("/", "/a/", "/a/b/c", "/a/fixed/", "/a/fixed\n/", "/a/b/end\n"):
        with pytest.raises(NotFoundError):
            table.find(path, "GET")
    for path, allowed in (("/a/fixed", b"GET, HEAD"), ("/a/b", b"GET, HEAD, PUT")):
        with pytest.raises(Refusal) as refused:
            table.find(path, "POST")
        assert (b"allow", allowed) in refused.value.problem.headers


async def with_cookie(one: Annotated[str, Cookie()] = "") -> Response:
    return Response(one)


async def with_response(response: Response) -> Response:
    return response


async def with_model(query: Annotated[Body, Query()]) -> Response:
    return Response(query.text)


async def with_list(tags: Annotated[list[str], Query()] = ["a"]) -> Response:  # noqa: B006
    return Response(tags[0])


async def with_default(number: Annotated[int, Query(validate_default=True)] = 1) -> Response:
    return Response(str(number))


async def with_two_bodies(one: Body, other: Body) -> Response:
    return Response(one.text + other.text)


async def with_form(text: Annotated[str, Form()]) -> Response:
    return Response(text)


async def _held():
    yield "x"


async def with_held(held: Annotated[str, Depends(_held)]) -> Response:
    return Response(held)


def no_coroutine() -> Response:
    return Response()


@pytest.mark.parametrize(
    "function",
    [
        *(with_cookie, with_response, with_model, with_list, with_default, with_two_bodies, with_form, with_held),
        no_coroutine,
    ],
)
def test_what_would_be_read_in_another_way_is_refused_when_the_application_is_made(function, monkeypatch):
    monkeypatch.setattr("fastapi.dependencies.utils.ensure_multipart_is_installed", lambda: None)
    with pytest.raises(TypeError, match="cannot be planned"):
        table_of(("GET", "/x", function))


@pytest.mark.parametrize("path", ["/a/{number:int}", "/a/{id:uuid}"])
def test_a_segment_that_would_be_converted_is_refused(path):
    with pytest.raises(TypeError, match="segment"):
        table_of(("GET", path, plain))


def test_a_path_that_fastapi_would_give_to_an_earlier_route_is_refused():
    with pytest.raises(TypeError, match="comes behind"):
        table_of(("GET", "/a/{one}", plain), ("GET", "/a/fixed", plain))
    table_of(("PUT", "/a/{one}", plain), ("GET", "/a/fixed", plain))
