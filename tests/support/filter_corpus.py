"""Memories for the tests of filters: metadata of every kind, drawn with a fixed seed, and filters over them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from emendo_client import Memory, MemoryClient
from emendo_client.requests.filtering.conditions import MAX_DEPTH
from emendo_client.times import iso, microseconds_of
from emendo_workers.services import Services
from tests.support.intake import drain_all

SIZE = 90
USERS, AGENTS = ("ana", "ben", "*"), ("helper", None, None)
KEYS = ("k", "n", "tags", "o", "o.c", " lead", 'q"', "\\", "@k:{x}|", "Ключ", "l" * 70, "at")
PATHS = (*KEYS, "o.k", "o.c.n", "tags.k", "nothing")
STRINGS = ("", "a", "b", "ab", "A", "a b", "1", "true", "*", "x|y}", "a\\", '"', " a ", "ß", "straSSE", "v" * 1_100)
NUMBERS = (0, -0.0, 1, 1.0, -1, 1.5, 2, 9, 10, 2**53 + 1, float(2**53), 10**16, 1e16, 1e300, -(2**63) + 1, 1e-7)
TIMES = ("2024-05-01", "2024-05-01T10:00:00Z", "2024-05-02T01:00:00+02:00", "2024-05-01T10:00:00.000001", "2024-13-01")
SCALARS = (*STRINGS, *NUMBERS, *TIMES, True, False)
_MOMENTS = [datetime(2024, 5, 1, 10, tzinfo=UTC) + timedelta(days=day, microseconds=day) for day in range(-3, 4)]


def fill(services: Services, client: MemoryClient) -> dict[str, Memory]:
    """Adds the memories of the client's project, and a few of another one; those of the project by id."""
    chance = random.Random(7)
    with MemoryClient(client.settings, project="other") as other:
        for number in range(SIZE):
            (other if number % 10 == 9 else client).add(
                f"fact {number}",
                user_id=chance.choice(USERS),
                agent_id=chance.choice(AGENTS),
                metadata=_metadata(chance),
                expires_at=chance.choice([None, "2090-01-01T00:00:00.000500Z", "2091-01-01T00:00:00Z"]),
                infer=False,
            )
    drain_all(services)
    for memory in client.get_all(all_users=True, page_size=1_000).results:
        created, updated = (iso(microseconds_of(chance.choice(_MOMENTS))) for _ in range(2))
        services.data.hset(services.keys.memory(memory.id), mapping={"created_at": created, "updated_at": updated})
    return {memory.id: memory for memory in client.get_all(all_users=True, page_size=1_000).results}


def _metadata(chance: random.Random) -> dict[str, Any]:
    return {key: _value(chance, 0) for key in chance.sample(KEYS, chance.randrange(5))}


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(12 if depth < 3 else 7)
    if kind < 7:
        return chance.choice(SCALARS[:-5] if kind else TIMES) if depth or kind else chance.choice(SCALARS)
    if kind < 10:
        return [chance.choice([None, _value(chance, depth + 1)]) for _ in range(chance.randrange(4))]
    return {key: chance.choice([None, _value(chance, depth + 1)]) for key in chance.sample(("k", "c", "n"), 2)}


_scalars = st.sampled_from([each for each in SCALARS if not isinstance(each, str) or len(each) < 1_000])
_limits = st.sampled_from(
    [*(each for each in (*STRINGS[1:-1], *NUMBERS, *TIMES)), date(2024, 5, 1), _MOMENTS[3], _MOMENTS[4]]
)
_moments = st.sampled_from(
    [
        *(moment.isoformat() for moment in _MOMENTS),
        *_MOMENTS,
        *TIMES[:4],
        _MOMENTS[2].date(),
        _MOMENTS[5].timestamp(),
        int(_MOMENTS[5].timestamp()) * 1_000,
        "2090-01-01T00:00:00.000500Z",
        "2090-01-01T00:00:00.000501Z",
        "2091-01-01",
    ]
)
_ids = st.sampled_from(["ana", "ben", "*", "helper", "user", "nobody", "a"])
_RANGES = ("gt", "gte", "lt", "lte")


def _operators(values: st.SearchStrategy, limits: st.SearchStrategy, parts: st.SearchStrategy | None):
    single = {
        **dict.fromkeys(("eq", "ne"), values),
        **{name: st.lists(values, min_size=1, max_size=4) for name in ("in", "nin")},
        **dict.fromkeys(_RANGES, limits),
        "between": st.tuples(limits, limits).map(list),
        "exists": st.booleans(),
        **(dict.fromkeys(("contains", "icontains"), parts) if parts is not None else {}),
    }
    one = st.sampled_from(sorted(single)).flatmap(
        lambda name: st.tuples(st.sampled_from([name, f"${name}"]), single[name]).map(lambda pair: dict([pair]))
    )
    several = st.tuples(one, one).map(lambda pair: {**pair[0], **pair[1]})
    return st.one_of(
        values, st.lists(values, min_size=1, max_size=3), one, one, several, one.map(lambda it: {"not": it})
    )


_metadata_conditions = _operators(
    st.one_of(_scalars, st.none(), st.sampled_from([date(2024, 5, 1), _MOMENTS[3]])),
    _limits,
    st.sampled_from(["a", "b", "SS", "*", "|", "\\", 1, 1.5, True]),
)
_leaves = st.one_of(
    st.dictionaries(
        st.just("metadata"), st.dictionaries(st.sampled_from(PATHS), _metadata_conditions, min_size=1), min_size=1
    ),
    st.dictionaries(
        st.sampled_from(["user_id", "agent_id", "actor_id", "role"]), _operators(_ids, _ids, _ids), min_size=1
    ),
    st.dictionaries(st.sampled_from(["created_at", "updated_at"]), _operators(_moments, _moments, None), min_size=1),
    st.dictionaries(st.just("expires_at"), _operators(_moments | st.none(), _moments, None), min_size=1),
)


def _nested(parts: st.SearchStrategy) -> st.SearchStrategy:
    words = st.sampled_from(["AND", "OR", "NOT", "$and", "$or", "$not"])
    return st.dictionaries(words, st.one_of(parts, st.lists(parts, min_size=1, max_size=3)), min_size=1, max_size=2)


# A filter in any of the spellings, mixed.
filters = st.recursive(_leaves, _nested, max_leaves=6).filter(lambda made: _depth(made) <= MAX_DEPTH)


def _depth(made: Any) -> int:
    if isinstance(made, dict):
        return 1 + max(map(_depth, made.values()), default=0)
    return max(map(_depth, made), default=0) if isinstance(made, list) else 0
