"""Listings by a cursor: each memory once, in order, whatever comes and goes; and the refusal of other cursors."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ValidationError
from emendo_client.requests import listings
from emendo_client.requests.cursors import read_cursor, write_cursor
from emendo_client.requests.filters import scoped
from emendo_client.requests.listings import ORDERS
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_config.store.connections import connect
from tests.support.inferring import started
from tests.support.intake import added, drain, drain_all


def filled(services, client, count):
    """Ids in the order of their creation."""
    job = client.batch_add([{"messages": f"fact {n}", "user_id": "ana"} for n in range(count)], infer=False)
    drain_all(services)
    return [result.memory_id for result in job.wait(5).results]


def pages(client, **asked):
    """The ids of all pages, each read behind the one before."""
    found, page = [], client.get_all(user_id="ana", **asked)
    while True:
        found.append([memory.id for memory in page.results])
        assert page.has_next == (page.next_cursor is not None)
        if page.next_cursor is None:
            return found
        page = client.get_all(user_id="ana", cursor=page.next_cursor, **asked)


def flat(found):
    return list(itertools.chain(*found))


def set_time(services, memory_id, name, when):
    services.data.hset(services.keys.memory(memory_id), name, when.isoformat(timespec="microseconds"))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 3, 7, 11, 12, 1_000])
def test_the_pages_of_a_listing_are_the_listing(services, client, order, limit):
    ids = filled(services, client, 12)
    drain(services, client.update(ids[0], "changed"))
    expected = ids if "created" in order else [*ids[1:], ids[0]]
    found = pages(client, order=order, limit=limit)
    assert flat(found) == (expected[::-1] if order.startswith("-") else expected)
    assert {len(page) for page in found[:-1]} <= {limit}
    assert len(found) == -(-12 // limit)


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_memories_of_one_time_are_ordered_by_their_ids(services, client, order):
    """A group of one time that is larger than what Redis sorts beside a page, with others around it."""
    ids = filled(services, client, 150)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for memory_id in ids[5:145]:
        set_time(services, memory_id, "created_at", moment)
    for number, memory_id in enumerate(ids[:5]):
        set_time(services, memory_id, "created_at", moment - timedelta(seconds=9 - number))
    expected = [*ids[:5], *sorted(ids[5:145]), *ids[145:]]
    if order == "-created_at":
        expected.reverse()
    for limit in (4, 10, 149):
        found = pages(client, order=order, limit=limit)
        assert flat(found) == expected
        assert {len(page) for page in found[:-1]} == {limit}


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_no_memory_that_stays_is_skipped_or_comes_twice(services, client, order):
    ids = filled(services, client, 20)
    stays, goes = ids[::2], ids[1::2]
    seen, page = [], client.get_all(user_id="ana", order=order, limit=3)
    while True:
        seen += [memory.id for memory in page.results]
        if page.next_cursor is None:
            break
        drain(services, client.delete(goes.pop(0), hard=len(goes) % 2 == 0))
        added(services, client, "a new one")
        page = client.get_all(user_id="ana", order=order, limit=3, cursor=page.next_cursor)
    assert len(seen) == len(set(seen))
    expected = stays if order == "created_at" else stays[::-1]
    assert [memory_id for memory_id in seen if memory_id in stays] == expected


def test_the_last_memory_of_a_page_may_be_gone(services, client):
    ids = filled(services, client, 6)
    page = client.get_all(user_id="ana", order="created_at", limit=3)
    drain(services, client.delete(page.results[-1].id, hard=True))
    rest = client.get_all(user_id="ana", order="created_at", limit=9, cursor=page.next_cursor)
    assert [memory.id for memory in rest.results] == ids[3:]
    assert (rest.total, rest.next_cursor) == (5, None)


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_pages_by_number_order_memories_of_one_time_too(services, client, order):
    ids = filled(services, client, 12)
    for memory_id in ids[2:9]:
        set_time(services, memory_id, "created_at", datetime(2026, 1, 1, tzinfo=UTC))
    expected = [*sorted(ids[2:9]), *ids[:2], *ids[9:]]
    if order == "-created_at":
        expected.reverse()
    for size in (1, 2, 5, 11):
        numbered = [client.get_all(user_id="ana", order=order, page=n, page_size=size) for n in range(1, 14)]
        assert [memory.id for page in numbered for memory in page.results] == expected
        assert all(page.has_next == (page.page * size < 12) for page in numbered)
        behind = numbered[1].next_cursor
        if behind:
            rest = client.get_all(user_id="ana", order=order, limit=100, cursor=behind)
            assert [memory.id for memory in rest.results] == expected[2 * size :]


def test_pages_by_number_go_on(services, client):
    ids = filled(services, client, 7)[::-1]
    for number in (1, 2, 3, 4):
        page = client.get_all(user_id="ana", page=number, page_size=3)
        assert [memory.id for memory in page.results] == ids[3 * number - 3 : 3 * number]
        assert (page.total, page.page, page.page_size, page.has_next) == (7, number, 3, number < 3)


async def test_an_iterator_gives_every_memory(services, client, settings):
    ids = filled(services, client, 25)
    assert [memory.id for memory in client.iter_all(user_id="ana", page_size=4)] == ids[::-1]
    async with AsyncMemoryClient(settings) as other:
        found = [memory.id async for memory in other.iter_all(all_users=True, order="created_at", page_size=25)]
    assert found == ids
    with pytest.raises(ValidationError, match="no scope"):
        next(client.iter_all())


def test_filters_scopes_and_deleted_memories_count_in_pages_too(services, client):
    ids = filled(services, client, 9)
    client.batch_update([{"memory_id": each, "metadata": {"k": 1}} for each in ids[:5]])
    drain_all(services)
    for place in (0, 3):  # on the first page, and behind a cursor
        drain(services, client.delete(ids[place]))
    drain(services, client.delete(ids[8], hard=True))
    wanted = {"filters": {"metadata": {"k": 1}}, "order": "created_at", "limit": 2}
    assert pages(client, **wanted) == [ids[1:3], [ids[4]]]
    assert flat(pages(client, **wanted, include_deleted=True)) == ids[:5]
    whole = client.get_all(all_users=True, include_deleted=True, limit=3)
    assert whole.total == 8, "a tombstone is no memory"


def test_a_listing_goes_beyond_the_limit_of_redis(tmp_path, settings, openai_server):
    with EmbeddedRedis(tmp_path / "redis") as server:
        own = settings.model_copy(update={"redis_url": server.url, "control_url": server.url, "broker_url": server.url})
        with connect(server.url, own) as connection:
            connection.execute_command("FT.CONFIG", "SET", "MAXSEARCHRESULTS", 20)
        services = started(own)
        try:
            with MemoryClient(own) as client:
                ids = filled(services, client, 90)
                assert flat(pages(client, order="created_at", limit=10)) == ids
                assert client.get_all(user_id="ana", limit=5).total == client.count(user_id="ana") == 90
        finally:
            services.stop()


GARBAGE = ["", "x", "é", "AAAA", "=" * 9, "a" * 5_000, "\x00", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "null", "*"]


@pytest.mark.parametrize("cursor", GARBAGE)
def test_a_text_that_is_no_cursor_is_refused(client, cursor):
    with pytest.raises(ValidationError, match="cursor is malformed"):
        client.get_all(user_id="ana", cursor=cursor)
    with pytest.raises(ValidationError, match="cursor is malformed"):
        client.users(cursor=cursor)


@pytest.mark.parametrize("cursor", [1, b"x", ["x"], True])
def test_a_cursor_of_another_type_is_refused(client, cursor):
    with pytest.raises(ValidationError, match="cursor is of type"):
        client.get_all(user_id="ana", cursor=cursor)


def test_the_cursor_of_another_listing_is_refused(services, client, settings):
    filled(services, client, 3)
    mine = client.get_all(user_id="ana", limit=1).next_cursor
    others = [
        {"user_id": "bob"},
        {"user_id": "ana", "order": "created_at"},
        {"user_id": "ana", "include_deleted": True},
        {"user_id": "ana", "filters": {"role": "user"}},
        {"all_users": True},
    ]
    for asked in others:
        with pytest.raises(ValidationError, match="cursor belongs to another listing"):
            client.get_all(cursor=mine, **asked)
    with (
        MemoryClient(settings, project="another") as other,
        pytest.raises(ValidationError, match="cursor belongs to another listing"),
    ):
        other.get_all(user_id="ana", cursor=mine)
    with pytest.raises(ValidationError, match="cursor is malformed"):
        client.users(cursor=mine)
    assert client.get_all(user_id="ana", limit=2, cursor=mine).results, "another size is fine"


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_cursor_with_a_changed_byte_is_refused(place, change):
    cursor = write_cursor(["a"], ["2026", "id"])
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[place % len(raw)] ^= change
    with pytest.raises(ValidationError, match="cursor"):
        read_cursor(base64.urlsafe_b64encode(raw).decode(), ["a"], 2)


def test_a_forged_place_is_no_query(client):
    """A caller who makes a cursor reads the own listing all the same: times and ids are checked."""
    wanted = scoped(client.project, "ana", None, None, None, all_users=False)
    asked = listings.Listing(client.project, wanted, "-created_at", 1)
    for place in (("' || 1 == 1 || '", "m"), ("2026-01-01T00:00:00.000000+00:00", "' || 1 == 1 || '")):
        with pytest.raises(ValidationError, match="malformed"):
            client.get_all(user_id="ana", cursor=write_cursor(listings._identity(asked), place))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"order": "memory"}, "order is unknown"),
        ({"order": "created_at DESC"}, "order is unknown"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": 1_001}, "limit is 1001"),
        ({"page": 2, "cursor": "x"}, "page and cursor"),
    ],
)
def test_what_cannot_be_listed_is_refused(client, asked, problem):
    with pytest.raises(ValidationError, match=problem):
        client.get_all(user_id="ana", **asked)


def test_the_command_lists_page_by_page(services, client, settings, cli):
    ids = filled(services, client, 5)
    code, out, _ = cli(settings, "list", "--user", "ana", "--limit", "3", "--order", "created_at", "--json")
    first = json.loads(out)
    assert (code, [each["id"] for each in first["results"]], first["total"]) == (0, ids[:3], 5)
    words = ("--order", "created_at", "--cursor", first["next_cursor"])
    code, out, _ = cli(settings, "list", "--user", "ana", *words)
    assert all(each in out for each in ids[3:])
    assert not any(each in out for each in ids[:3])
    code, out, _ = cli(settings, "list", "--all-users", "--limit", "2")
    assert "--cursor" in out, "it says how to read on"
    code, _, err = cli(settings, "list", "--all-users", "--cursor", first["next_cursor"])
    assert (code, "another listing" in err) == (1, True)
