"""Values nobody means well with: for every parameter of the client, by its name."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

# Everything the query language, key names, patterns, JSON or a terminal gives a meaning to.
CLASSICS = [
    "*",
    "u1|u2",
    "u1 | u2",
    "} @user_id:{u2",
    "u1} | @project:{victim",
    "@project:{victim}",
    "-@is_deleted:{1}",
    "(@user_id:{u1})=>[KNN 10 @vector $vector]",
    "$p0",
    "$vector",
    "w'*'",
    "%u1%",
    "u?",
    "u[12]",
    "\\",
    "u1\\",
    "\\*",
    "\"'`",
    "{victim}",
    "a,b;c",
    "a=b",
    'k="v"',
    "a:b:c",
    "%s {0} ${x}",
    "../../victim",
    "null",
    "NaN",
    "__proto__",
    " lead and trail ",
    "\ttab\r\nlines",
    "é",
    "e\u0301",
    "ß",
    "İi",
    "\u202ertl\u202c",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\ufffe",
    "👩\u200d👩\u200d👧",
    "猫",
    "-1",
    "0",
]
BROKEN = ["", " ", "\x00", "u1\x1fu2", "\x1f", "\x7f", "\x85", "\ud800", "u1\udfff", "x" * 257, "y" * 40_000]
_SYNTAX = "*|{}[]()@$:%-~=>\\\"'`,.;<>!?&^#/ u12é猫🦜\u0301\t"


class Shout(str, enum.Enum):  # noqa: UP042  # the older idiom, with its other str()
    USER = "user"
    VICTIM = "victim"


class Whole(int):
    """An int that is not quite one."""

    def __str__(self) -> str:
        return "} @user_id:{u2"


def deep(levels: int) -> Any:
    """A value nested so deeply."""
    value: Any = "end"
    for _ in range(levels):
        value = {"k": [value]}
    return value


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP

strange_texts = st.one_of(
    st.sampled_from(CLASSICS), st.text(_SYNTAX, min_size=1, max_size=20), st.text(min_size=1, max_size=20)
)
broken_texts = st.one_of(
    st.sampled_from(BROKEN), st.text(st.characters(categories=["Cc", "Cs", "Cf", "Zs", "Cn"]), max_size=5)
)
numbers = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**5_000, -(10**5_000), Whole(1), Whole(7)]),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 1.5, math.nan, math.inf, -math.inf, Decimal(1), 1j]),
)
wrong_types = st.one_of(
    st.none(),
    numbers,
    st.sampled_from([b"u1", bytearray(b"u1"), object(), Ellipsis, dict, (), [], {}, {"u1"}, frozenset(), Shout.USER]),
    st.sampled_from([["u1", "u2"], ("u1",), {"$ne": None}, {"u1": "u2"}, range(3), LOOP, deep(40)]),
    st.builds(lambda: (each for each in ["u1"])),
)
strange = st.one_of(strange_texts, strange_texts, strange_texts, broken_texts, wrong_types)

json_values = st.recursive(
    st.one_of(strange_texts, st.integers(-(2**63) + 1, 2**63 - 1), st.booleans(), st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_texts, inner, max_size=3),
    max_leaves=6,
)
good_metadata = st.dictionaries(strange_texts, json_values, max_size=4)
metadata = st.one_of(
    good_metadata,
    st.dictionaries(strange_texts, strange, max_size=3),
    st.sampled_from(
        [
            None,
            {"user_id": "u2"},
            {"project": "victim"},
            {"id": "x"},
            {1: 2},
            {None: 1},
            {"": 1},
            {"\ud800": 1},
            {"k\x1fuser": 1},
            {"k": math.nan},
            {"k": b"v"},
            {"k": 10**30},
            {"k": {1, 2}},
            LOOP,
            deep(40),
            {"k": "v" * 20_000},
            {str(n): n for n in range(500)},
            MappingProxyType({"k": "v"}),
        ]
    ),
    wrong_types,
)
message = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": strange_texts},
        optional={"name": strange_texts},
    ),
    st.fixed_dictionaries({}, optional={"role": strange, "content": strange, "name": strange, "project": strange}),
    strange,
)
messages = st.one_of(strange, message, st.lists(message, max_size=4))
moments = st.one_of(
    st.none(),
    st.sampled_from(
        [
            datetime.now(UTC) + timedelta(days=1),
            datetime.now(UTC) - timedelta(days=1),
            datetime(2099, 1, 1),  # noqa: DTZ001  # it has no time zone on purpose
            datetime.min.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC),
            "2099-01-01",
            "2099-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "tomorrow",
        ]
    ),
    strange,
)
_operators = st.sampled_from(["eq", "$ne", "in", "nin", "gt", "$lte", "between", "exists", "icontains", "not"])
_words = st.sampled_from(["AND", "OR", "NOT", "$and", "$or", "$not"])
_fields = st.sampled_from(["user_id", "created_at", "expires_at", "metadata.k", "k"]) | strange_texts


def _tree() -> st.SearchStrategy[Any]:
    """A filter of a few levels; not `st.recursive`, whose message would print numbers that are too long for it."""
    condition = strange
    for _ in range(2):
        condition = strange | st.dictionaries(
            _operators | strange_texts, condition | st.lists(condition, max_size=2), max_size=2
        )
    tree = st.dictionaries(_fields, condition, max_size=2) | st.fixed_dictionaries(
        {"metadata": st.dictionaries(strange_texts, condition, max_size=2)}
    )
    for _ in range(2):
        tree |= st.dictionaries(_words, st.lists(tree, max_size=3) | tree, max_size=2)
    return tree


filters = st.one_of(
    st.none(),
    _tree(),
    st.fixed_dictionaries(
        {},
        optional={
            "user_id": strange | st.lists(strange, max_size=3),
            "role": st.sampled_from(["user", "assistant"]) | strange,
            "actor_id": strange,
            "metadata": st.one_of(
                st.dictionaries(strange_texts, strange | st.lists(strange_texts, max_size=3), max_size=2), strange
            ),
        },
    ),
    st.dictionaries(st.sampled_from(["project", "is_deleted", "vector", "id", "*", ""]), strange, max_size=2),
    st.sampled_from([{1: 2}, {None: "x"}, {"user_id": ["u"] * 101}, {"metadata": {1: 2}}, {"metadata": LOOP}]),
    wrong_types,
)
flags = st.one_of(st.booleans(), st.booleans(), strange)


def parameters(
    memory_ids: list[str], job_ids: list[str], conflict_ids: list[str]
) -> Mapping[str, st.SearchStrategy[Any]]:
    """A strategy for each parameter the client's methods have.

    Args:
        memory_ids, job_ids, conflict_ids: such as exist, the caller's own and others'.
    """
    single = _single(memory_ids, job_ids, conflict_ids)
    known = ["memory_id", "messages", "user_id", "text", "metadata", "expected_version", "on_conflict", "hard"]
    item = st.lists(st.sampled_from(known), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: single[name] for name in names})
    )
    return {**single, "items": st.one_of(st.lists(st.one_of(item, item, item, strange), max_size=4), strange)}


def _single(memory_ids: list[str], job_ids: list[str], conflict_ids: list[str]) -> dict[str, st.SearchStrategy[Any]]:
    scope = st.one_of(st.sampled_from(["u1", "u2", None]), strange)
    return {
        "conflict_id": st.one_of(st.sampled_from(conflict_ids), strange),
        "choice": st.one_of(st.sampled_from(["ours", "theirs", "merged"]), strange),
        "kind": st.one_of(st.sampled_from([None, "add", "update"]), strange),
        "error_code": st.one_of(st.none(), strange),
        "before": moments,
        "after": moments,
        "deleted_before": moments,
        "messages": messages,
        "user_id": scope,
        "agent_id": scope,
        "run_id": scope,
        "actor_id": scope,
        "metadata": metadata,
        "instructions": st.one_of(st.none(), st.just("Remember pets."), strange),
        "categories": st.one_of(st.none(), st.lists(st.sampled_from(["food", "pets", "Food"]) | strange), strange),
        "infer": flags,
        "dry_run": flags,
        "all_users": flags,
        "include_deleted": flags,
        "hard": flags,
        "expires_at": moments,
        "idempotency_key": st.one_of(st.none(), strange),
        # "strong" waits for a worker, and there is none.
        "consistency": st.one_of(st.sampled_from(["eventual", "weak", "STRONG"]), strange),
        "memory_id": st.one_of(st.sampled_from(memory_ids), strange),
        "text": strange,
        "query": strange,
        "expected_version": st.one_of(numbers, strange),
        "version": st.one_of(numbers, strange),
        "on_conflict": st.one_of(st.sampled_from(["last_write_wins", "reject", "merge", "manual"]), strange),
        "job_id": st.one_of(st.sampled_from(job_ids), strange),
        "status": st.one_of(st.sampled_from([None, "queued", "failed", "succeeded"]), strange),
        "role": st.one_of(st.sampled_from(["user", "assistant"]), strange),
        "limit": numbers | strange,
        "order": st.one_of(st.sampled_from(["created_at", "-updated_at"]), strange),
        "mode": st.one_of(st.sampled_from(["vector", "vector", "hybrid"]), strange),
        "threshold": st.one_of(st.none(), numbers, strange),
        "cursor": st.one_of(st.none(), strange),
        "page": numbers | strange,
        "page_size": numbers | strange,
        "filters": filters,
    }
