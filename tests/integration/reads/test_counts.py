"""Counts of memories, and the users, agents and runs that have any."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ValidationError
from tests.model.hostile_inputs import CLASSICS
from tests.support.intake import added, drain, drain_all

ODD = {"10", "9", "a'b", "a\\", "\\'", "a\\'b\\n", "%\\%s", "CORP\\.ana", "\\" * 256, "'" * 256, "x\\'" * 85}
HOSTILE = {text.strip() for text in CLASSICS if text.isprintable()} | ODD


def told(services, client, *owners):
    for owner in owners:
        client.add("a fact", **owner, infer=False)
    drain_all(services)


def owners(ask, limit):
    found, cursor = [], None
    while True:
        page = ask(limit=limit, cursor=cursor)
        found += [(owner.id, owner.memories) for owner in page.results]
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.results) == limit
        assert len(found) == len(set(found))


def test_a_count_is_that_of_the_listing(services, client):
    ids = [added(services, client, f"fact {n}", metadata={"n": n}) for n in range(4)]
    added(services, client, "gone soon", expires_at=datetime.now(UTC) + timedelta(hours=1))
    drain(services, client.delete(ids[0]))
    drain(services, client.delete(ids[1], hard=True))
    told(services, client, {"user_id": "bob"})
    assert client.count(user_id="ana") == client.get_all(user_id="ana").total == 3
    assert client.count(user_id="ana", filters={"metadata": {"n": [2, 3]}}) == 2
    assert client.count(user_id="ana", include_deleted=True) == 4
    assert client.count(all_users=True) == 4
    assert client.count(all_users=True, include_deleted=True) == 5, "a tombstone is no memory"
    with pytest.raises(ValidationError, match="no scope"):
        client.count()


def test_users_agents_and_runs_with_their_counts(services, client):
    told(services, client, {"user_id": "ana"}, {"user_id": "ana", "agent_id": "x"}, {"agent_id": "x", "run_id": "r"})
    told(services, client, {"user_id": "Ana"})
    deleted = added(services, client)
    drain(services, client.delete(deleted))
    assert owners(client.users, 10) == [("Ana", 1), ("ana", 2)]
    assert owners(client.agents, 1) == [("x", 2)]
    assert owners(client.runs, 1) == [("r", 1)]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_users_page_by_page_whatever_they_are_called(services, client, limit):
    told(services, client, *({"user_id": user} for user in HOSTILE))
    found = owners(client.users, limit)
    assert [user for user, _ in found] == sorted(HOSTILE, key=str.encode)
    assert {count for _, count in found} == {1}


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.sampled_from("ab'\"\\@$|é猫10 "), min_size=1, max_size=6).filter(lambda text: text == text.strip()),
        min_size=2,
        max_size=5,
        unique=True,
    )
)
def test_no_name_is_read_as_anything_else(services, settings, users):
    with MemoryClient(settings, project=f"p{hash(tuple(users)) % 10**9}") as client:
        told(services, client, *({"user_id": user} for user in users))
        assert [user for user, _ in owners(client.users, 1)][: len(users)] == sorted(users, key=str.encode)


async def test_users_of_another_project_are_not_told_of(services, client, settings):
    told(services, client, {"user_id": "mine"})
    with MemoryClient(settings, project="another") as other:
        told(services, other, {"user_id": "theirs"}, {"user_id": "mine"})
        cursor = other.users(limit=1).next_cursor
    assert owners(client.users, 10) == [("mine", 1)]
    with pytest.raises(ValidationError, match="another listing"):
        client.users(cursor=cursor)
    async with AsyncMemoryClient(settings) as asking:
        assert [owner.id for owner in (await asking.users()).results] == ["mine"]
        assert (await asking.agents()).results == (await asking.runs()).results == []
        assert await asking.count(all_users=True) == 1


def test_a_project_without_memories_has_no_users(services, client):
    assert client.users().results == []
    assert client.count(all_users=True) == 0


def test_the_commands_count_and_list_users(services, client, settings, cli):
    told(services, client, {"user_id": "ana"}, {"user_id": "bob", "agent_id": "x"}, {"user_id": "bob"})
    assert cli(settings, "count", "--user", "bob")[:2] == (0, "2\n")
    assert json.loads(cli(settings, "count", "--all-users", "--json")[1]) == {"count": 3}
    code, out, _ = cli(settings, "users", "--limit", "1", "--json")
    first = json.loads(out)
    assert (code, first["results"]) == (0, [{"id": "ana", "memories": 1}])
    assert "bob" in cli(settings, "users", "--cursor", first["next_cursor"])[1]
    assert json.loads(cli(settings, "users", "--kind", "agent", "--json")[1])["results"] == [{"id": "x", "memories": 1}]
