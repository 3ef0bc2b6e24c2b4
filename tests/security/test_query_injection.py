"""No value of a search, list, count or filter reaches beyond its caller's memories, whatever the query language means.

Values are built of the language's special characters around the ids of two users. A call may refuse a value; it may not
return or count a memory of anybody else.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ValidationError
from tests.model.effort import DEEP
from tests.model.hostile_inputs import BROKEN, CLASSICS
from tests.support.intake import added, drain_all

SPECIAL = "*|{}[]()@$:%-~=>\\\"'`,.;<!?&^#/ \x1f\u200b"
ME, VICTIM = "u1", "u2"
SECRET = "the victim's PIN is 4711"


def built() -> list[str]:
    """Values for one parameter: none of them is the id of a user."""
    pairs = list(itertools.product(SPECIAL, repeat=2))
    around = [f"{ME}{a}{b}{VICTIM}" for a, b in pairs] + [f"{a}{VICTIM}{b}" for a, b in pairs]
    closed = [f"{ME}{a}}}{b}@user_id:{{{VICTIM}" for a, b in pairs]
    alone = [f"{a}{b}" for a, b in pairs] + list(SPECIAL)
    words = [f"{VICTIM}{word}" for word in (" OR 1", "|*", "}|@project:{*}", "\\", "*", "%", "\n", "\t", " ")]
    found = dict.fromkeys([*CLASSICS, *BROKEN, *words, *around, *closed, *alone])
    return [each for each in found if each.strip() not in {ME, VICTIM}]


VALUES = built()

Ask = Callable[[AsyncMemoryClient, str], Awaitable[Any]]

# Calls that name no memory at all, since nothing has such a value: each must find nothing.
NOTHING: dict[str, Ask] = {
    "count(user_id)": lambda client, value: client.count(user_id=value),
    "count(agent_id)": lambda client, value: client.count(user_id=VICTIM, agent_id=value),
    "count(run_id)": lambda client, value: client.count(user_id=VICTIM, run_id=value),
    "get_all(user_id)": lambda client, value: client.get_all(user_id=value),
    "get_all(filters: user_id)": lambda client, value: client.get_all(filters={"user_id": value}),
    "get_all(filters: in)": lambda client, value: client.get_all(filters={"user_id": {"in": [value, value + "x"]}}),
    "count(filters: agent_id)": lambda client, value: client.count(user_id=VICTIM, filters={"agent_id": value}),
    "count(filters: metadata)": lambda client, value: client.count(user_id=VICTIM, filters={"topic": value}),
    "count(filters: key)": lambda client, value: client.count(user_id=VICTIM, filters={"metadata": {value: "pin"}}),
    "count(filters: eq)": lambda client, value: client.count(user_id=VICTIM, filters={"topic": {"eq": value}}),
    "get_all(filters: all of)": lambda client, value: client.get_all(
        filters={"AND": [{"user_id": VICTIM}, {"OR": [{"topic": value}, {"run_id": value}]}]}
    ),
    "search(user_id)": lambda client, value: client.search("PIN", user_id=value),
    "search(filters)": lambda client, value: client.search("PIN", user_id=VICTIM, filters={"topic": value}),
}
# Calls of the attacker in his own scope: each may find his memory, and no other.
MINE: dict[str, Ask] = {
    "search(query)": lambda client, value: client.search(value, user_id=ME),
    "search(hybrid)": lambda client, value: client.search(value, user_id=ME, mode="hybrid"),
    "get_all(filters: ne)": lambda client, value: client.get_all(user_id=ME, filters={"topic": {"ne": value}}),
    "get_all(filters: not)": lambda client, value: client.get_all(user_id=ME, filters={"NOT": [{"topic": value}]}),
    "get_all(filters: any of)": lambda client, value: client.get_all(
        user_id=ME, filters={"OR": [{"topic": value}, {"agent_id": value}, {"topic": {"exists": True}}]}
    ),
    "get_all(filters: contains)": lambda client, value: client.get_all(
        user_id=ME, filters={"topic": {"contains": value}}
    ),
    "get_all(filters: range)": lambda client, value: client.get_all(user_id=ME, filters={"topic": {"gte": value}}),
    "count(filters: user_id)": lambda client, value: client.count(
        user_id=ME, filters={"OR": [{"user_id": value}, {"user_id": ME}]}
    ),
    "get_all(cursor)": lambda client, value: client.get_all(user_id=ME, limit=5, cursor=value),
    "get_all(order)": lambda client, value: client.get_all(user_id=ME, order=value),
}
ASKS = {**NOTHING, **MINE}


@pytest.fixture
def settings(emendo_settings):
    # A hundred searches at once share one line to the provider, and wait for each other.
    waits = {"redis_timeout": 60.0, "embedding_timeout": 120.0}
    return emendo_settings.model_copy(update={"index_text": True, **waits})


@pytest.fixture
def filled(services, client) -> AsyncMemoryClient:
    """A memory of the attacker, two of the victim, and one of the victim in another project."""
    added(services, client, "I like fish.", user_id=ME, metadata={"topic": "food"})
    added(services, client, SECRET, user_id=VICTIM, metadata={"topic": "pin"})
    added(services, client, f"{SECRET}!", user_id=VICTIM, agent_id="a", run_id="r", metadata={"topic": "pin"})
    with MemoryClient(services.settings, project="other") as other:
        other.add(f"{SECRET}?", user_id=ME, infer=False)
        drain_all(services)
        assert other.count(user_id=ME) == 1
    assert (client.count(user_id=ME), client.count(user_id=VICTIM)) == (1, 2)
    return AsyncMemoryClient(services.settings)


def judge(name: str, value: str, answer: Any) -> None:
    """An answer holds nothing of the victim, or of another project."""
    if isinstance(answer, BaseException):
        assert isinstance(answer, ValidationError), (name, value, answer)
        assert SECRET not in str(answer)
        return
    if isinstance(answer, int):
        assert answer <= (name in MINE), (name, value, answer)
        return
    memories = getattr(answer, "results", answer)
    assert len(memories) <= (name in MINE), (name, value, memories)
    assert {each.user_id for each in memories} <= {ME}, (name, value)
    assert SECRET not in str(memories), (name, value)
    assert getattr(answer, "total", 0) <= (name in MINE), (name, value)


async def ask_all(client: AsyncMemoryClient, asked: list[tuple[str, str]]) -> int:
    """Asks many at once, which share round trips; returns how many were not refused."""
    answered = 0
    async with client:
        for some in (asked[first : first + 100] for first in range(0, len(asked), 100)):
            answers = await asyncio.gather(*(ASKS[name](client, value) for name, value in some), return_exceptions=True)
            for (name, value), answer in zip(some, answers, strict=True):
                judge(name, value, answer)
                answered += not isinstance(answer, BaseException)
    return answered


@pytest.mark.slow
async def test_each_of_thousands_of_values_in_a_parameter(filled):
    """Each value goes to one parameter, and to the id of the user, in turn."""
    names = itertools.cycle(ASKS)
    asked = [(name, value) for value in VALUES for name in ("count(user_id)", next(names))]
    assert len(asked) > 7_000
    assert await ask_all(filled, asked) > len(asked) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKS)
async def test_each_value_in_a_parameter(filled, name):
    """Every value, but one of 16 in a search, which takes long; all with EMENDO_HYPOTHESIS_PROFILE=deep."""
    assert len(VALUES) * len(ASKS) > 80_000
    values = VALUES[::16] if name.startswith("search") and not DEEP else VALUES
    await ask_all(filled, [(name, value) for value in values])


def test_users_with_hostile_ids_have_their_own_memories_only(services, client):
    """Ids that the query language could take for patterns, ranges or lists of one another."""
    ids = list(dict.fromkeys([*CLASSICS, *(f"u{mark}" for mark in SPECIAL), "u", "u1"]))
    kept = {}
    for user_id in ids:
        try:
            client.add(f"memory of {len(kept)}", user_id=user_id, infer=False)
        except ValidationError:
            continue
        kept[user_id] = f"memory of {len(kept)}"
    assert len(kept) > 50
    drain_all(services)
    for user_id, text in kept.items():
        assert [each.memory for each in client.get_all(user_id=user_id).results] == [text]
        assert [each.memory for each in client.search("memory", user_id=user_id)] == [text]
        assert client.count(filters={"user_id": user_id}) == 1
