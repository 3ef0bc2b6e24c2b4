"""A place in a lane is held while work is done, and not while a client sends or reads slowly."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from fastapi import Request

from emendo_client.errors import TransientError, ValidationError
from emendo_config import GatewaySettings
from emendo_gateway.admission.asgi import CLOSE
from emendo_gateway.admission.kinds import Kind, kind_of
from emendo_gateway.admission.lanes import Lanes
from emendo_gateway.callers import Caller, begin, state_of
from emendo_gateway.native.parameters import _seconds_to_wait
from tests.support.patience import PATIENCE

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"x"}


def request(path="/api/v1/memories", method="GET", headers=()):
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": list(headers)}
    begin(scope, "id")
    return scope


async def nothing():
    return {"type": "http.disconnect"}


def lanes(app, **own) -> Lanes:
    return Lanes(app, GatewaySettings(max_reads=1, max_writes=1, max_waits=1, max_queue_seconds=0.0, **own))


async def test_a_client_that_reads_slowly_holds_no_place():
    reads = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send(END)

    async def slowly(message):
        if message is END:
            await reads.wait()

    async def at_once(message):
        pass

    gate = lanes(app)
    slow = asyncio.create_task(gate(request(), nothing, slowly))
    await asyncio.sleep(0)
    await gate(request(), nothing, at_once)
    assert not slow.done()
    reads.set()
    await slow


async def test_a_full_lane_refuses_before_the_body_is_read_and_leaves_other_lanes_alone():
    works, ends, asked = asyncio.Event(), asyncio.Event(), []

    async def app(scope, receive, send):
        works.set()
        await ends.wait()

    async def body():
        asked.append(1)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    gate = lanes(app)
    post = request(method="POST", headers=[(b"content-length", b"2")])
    first = asyncio.create_task(gate(post, body, None))
    await works.wait()
    assert len(asked) == 1
    with pytest.raises(TransientError) as refused:
        await gate(request(method="POST", headers=[(b"content-length", b"2")]), body, None)
    assert (refused.value.error_code, len(asked)) == ("OVERLOADED", 1)
    others = [
        asyncio.create_task(gate(request(), nothing, None)),
        asyncio.create_task(gate(request(headers=[(b"prefer", b"wait=9")]), nothing, None)),
        asyncio.create_task(gate(request("/health"), nothing, None)),
    ]
    ends.set()
    await asyncio.gather(first, *others)
    await gate(request(method="POST", headers=[(b"content-length", b"2")]), body, None)  # the place is free again


@pytest.mark.parametrize(
    "value", ["wait=9", "wait  =9", "\xa0wait=9", "a, wait\xa0=9", 'x,WAIT\t= "9"', "wait\x1c=9", "x;wait=9"]
)
async def test_what_is_waited_for_has_the_place_of_a_wait(value):
    gateway = SimpleNamespace(own=GatewaySettings())
    scope = request(headers=[(b"prefer", value.encode("latin-1"))])
    scope["app"] = SimpleNamespace(state=SimpleNamespace(gateway=gateway))
    seconds = await _seconds_to_wait(Request(scope), [value])
    assert kind_of(scope) is Kind.WAIT or not seconds


async def test_work_that_takes_too_long_is_ended_and_its_place_is_free():
    ended = []

    async def app(scope, receive, send):
        if not ended:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

    gate = lanes(app, request_timeout=0.01)
    with pytest.raises(TransientError) as refused:
        await gate(request(), nothing, None)
    assert (refused.value.error_code, ended) == ("REQUEST_TIMEOUT", [1])
    await gate(request(), nothing, None)


async def test_an_answer_that_has_begun_takes_its_time():
    """A stream lasts as long as its job; only who does not read is cut off, by the connection."""
    sent = []

    async def app(scope, receive, send):
        await send(START)
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, later.set)
        await later.wait()
        await send(END)

    async def note(message):
        sent.append(message)

    await lanes(app, request_timeout=0.01)(request(), nothing, note)
    assert sent == [START, END]


async def test_an_answer_gives_its_place_back_once():
    ends = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/quick":
            await send(START)
            await send(END)
        else:
            await ends.wait()

    async def at_once(message):
        pass

    gate = lanes(app)
    for _ in range(2):
        await gate(request("/quick"), nothing, at_once)
    first = asyncio.create_task(gate(request(), nothing, None))
    await asyncio.sleep(0)
    with pytest.raises(TransientError):
        await gate(request(), nothing, None)
    ends.set()
    await first


async def test_who_asks_to_wait_has_the_time_for_it_beside_that_of_a_request():
    sent = []

    async def app(scope, receive, send):
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, later.set)
        await later.wait()
        await send(START)
        await send(END)

    async def silent():
        await asyncio.Event().wait()

    async def note(message):
        sent.append(message)

    asks = request(headers=[(b"prefer", b"wait=9")])
    await lanes(app, request_timeout=0.01, max_wait=60.0)(asks, silent, note)
    assert sent == [START, END]


async def test_bodies_of_all_requests_have_room_together():
    works, ends = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        works.set()
        if scope["path"] != "/quick":
            await ends.wait()

    def post(size, path="/quick"):
        async def body():
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        fields = [(b"content-length", b"%d" % size), (b"content-encoding", b"Identity")]
        scope = request(path, method="POST", headers=fields)
        return scope, gate(scope, body, None)

    gate = Lanes(app, GatewaySettings(max_body_bytes=2_048, max_buffered_bytes=2_048))
    first = asyncio.create_task(post(1_100, "/slow")[1])
    await works.wait()
    for _ in range(2):  # a refused body takes no room
        scope, working = post(949)
        with pytest.raises(TransientError) as refused:
            await working
        assert (refused.value.error_code, state_of(scope).headers) == ("OVERLOADED", [CLOSE])
        await post(948)[1]
    ends.set()
    await first
    await post(2_048)[1]


async def test_no_more_wait_for_a_place_than_may(monkeypatch):
    monkeypatch.setattr("emendo_gateway.admission.lanes._QUEUED_PER_PLACE", 1)
    works, ends = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        works.set()
        await ends.wait()

    gate = Lanes(app, GatewaySettings(max_reads=1, max_queue_seconds=60.0))
    first = asyncio.create_task(gate(request(), nothing, None))
    await works.wait()
    for _ in range(2):  # also when one that waited has gone
        second = asyncio.create_task(gate(request(), nothing, None))
        await asyncio.sleep(0)
        with pytest.raises(TransientError) as refused:
            await gate(request(), nothing, None)
        assert (refused.value.error_code, second.done()) == ("OVERLOADED", False)
        second.cancel()
        await asyncio.wait({second})
    ends.set()
    await first


async def test_a_body_that_is_refused_takes_no_room():
    async def app(scope, receive, send):
        await receive()

    parts = iter([b"x" * 1_024, b"y" * 1_025])

    async def body():
        return {"type": "http.request", "body": next(parts), "more_body": True}

    gate = lanes(app, max_body_bytes=2_048, max_buffered_bytes=2_048)
    with pytest.raises(ValidationError) as refused:
        await gate(request(method="POST", headers=[(b"transfer-encoding", b"chunked")]), body, None)
    assert refused.value.error_code == "BODY_TOO_LARGE"
    assert gate._bodies._buffered == 0, "what was refused takes no room"


def waiting(project="acme", method="GET"):
    """A request that waits."""
    scope = request(method=method, headers=[(b"prefer", b"wait=9")])
    state_of(scope).caller = Caller(project, "write")
    return scope


async def silent():
    await asyncio.Event().wait()


async def at_once(message):
    pass


@pytest.mark.parametrize(
    ("scope", "places"),
    [(request, 1), (lambda: request(method="DELETE"), 2), (waiting, 3)],
    ids=["reads", "writes", "waits"],
)
async def test_each_kind_has_places_of_its_own_number(scope, places):
    works, ends = [], asyncio.Event()

    async def app(*_):
        works.append(1)
        await ends.wait()

    gate = Lanes(app, GatewaySettings(max_reads=1, max_writes=2, max_waits=3, max_queue_seconds=0.0))
    tasks = [asyncio.create_task(gate(scope(), silent, at_once)) for _ in range(9)]
    ended, _ = await asyncio.wait(tasks[places:])
    assert {each.exception().error_code for each in ended} == {"OVERLOADED"}
    assert len(works) == places
    ends.set()
    await asyncio.gather(*tasks[:places])


async def test_a_wait_keeps_its_place_to_the_end_of_its_answer():
    begun, ends = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        begun.set()
        await ends.wait()
        await send(END)

    gate = lanes(app)
    first = asyncio.create_task(gate(waiting(), silent, at_once))
    await begun.wait()
    with pytest.raises(TransientError):
        await gate(waiting(), silent, at_once)
    ends.set()
    await first
    await gate(waiting(), silent, at_once)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "somebody still listens for the client"


@pytest.mark.parametrize("when", ["its body comes", "it waits"])
async def test_a_client_that_goes_leaves_quietly_and_at_once(when):
    ended = []

    async def app(*_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    gate = lanes(app)
    for _ in range(2):  # its place is free
        scope = waiting(method="POST")
        if when == "its body comes":
            scope["headers"].append((b"content-length", b"9"))
        await gate(scope, nothing, at_once)
    assert ended == ([] if when == "its body comes" else [1, 1])


async def test_who_waited_for_a_place_takes_one_only():
    works, ends = asyncio.Event(), asyncio.Event()

    async def app(*_):
        works.set()
        await ends.wait()

    gate = Lanes(app, GatewaySettings(max_reads=1, max_queue_seconds=60.0))
    first = asyncio.create_task(gate(request(), nothing, at_once))
    await works.wait()
    second = asyncio.create_task(gate(request(), nothing, at_once))
    await asyncio.sleep(0)
    ends.set()
    await asyncio.wait_for(asyncio.gather(first, second), PATIENCE)


@pytest.mark.parametrize(
    ("most", "scope", "refused"),
    [
        (4, waiting, [False, False, True, True]),
        (1, waiting, [False]),
        (1, request, [False, False]),
    ],
    ids=["half", "at least one", "no waits"],
)
async def test_beside_a_neighbour_a_project_has_half_of_the_waits(most, scope, refused):
    ends = asyncio.Event()

    async def app(*_):
        await ends.wait()

    gate = Lanes(app, GatewaySettings(max_waits=most, max_queue_seconds=0.0))
    neighbour = asyncio.create_task(gate(waiting("neighbour"), nothing, at_once))
    await neighbour
    tasks = [asyncio.create_task(gate(scope(), silent, at_once)) for _ in refused]
    for _ in range(9):
        await asyncio.sleep(0)
    assert [each.done() for each in tasks] == refused
    ends.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert ["half of the waits" in str(each) for each in told] == refused
