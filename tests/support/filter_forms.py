"""The forms of filters as a table: operator, spelling, example, and what the example finds among MEMORIES.

`tests/integration/filters/test_forms.py` tries each one; docs/reference/compatibility.md lists them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

# Name of a memory, and the arguments of its add beside the user.
MEMORIES: dict[str, dict[str, Any]] = {
    "shop": {"metadata": {"topic": "food", "price": 5, "tags": ["red", "cheap"], "open": True, "seen": "2026-03-01"}},
    "cafe": {
        "metadata": {"topic": "Food and Art", "price": 7.5, "tags": ["red", None], "at": {"city": "Rome"}},
        "agent_id": "guide",
    },
    "museum": {
        "metadata": {"topic": "art", "price": 9.0, "tags": [], "seen": "2026-03-02T10:00:00+02:00", "open": False},
        "expires_at": "2090-01-01T00:00:00Z",
    },
    "bare": {},
}
# The memories were created then, in this order; see `test_forms.py`.
CREATED = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3, 4)]


class Form(NamedTuple):
    """One form of a filter.

    Attributes:
        operator: its name in Emendo.
        spelling: whose spelling it is: Emendo, mem0 or LangChain.
        example: a filter.
        finds: names of MEMORIES.
        is_indexed: the index decides alone; else memories are looked at one by one.
    """

    operator: str
    spelling: str
    example: dict[str, Any]
    finds: set[str]
    is_indexed: bool = True


_EMENDO, _MEM0, _LANGCHAIN = "Emendo", "mem0", "LangChain"
FORMS = [
    Form("eq", _EMENDO, {"metadata": {"topic": "food"}}, {"shop"}),
    Form("eq", _EMENDO, {"metadata": {"price": 9}}, {"museum"}),
    Form("eq", _EMENDO, {"metadata": {"price": {"eq": 5.0}}}, {"shop"}),
    Form("eq", _EMENDO, {"metadata": {"open": False}}, {"museum"}),
    Form("eq", _EMENDO, {"metadata": {"open": None}}, {"cafe", "bare"}),
    Form("eq", _EMENDO, {"metadata": {"at.city": "Rome"}}, {"cafe"}),
    Form("eq", _EMENDO, {"metadata": {"tags": "cheap"}}, {"shop"}),
    Form("eq", _EMENDO, {"agent_id": "guide"}, {"cafe"}),
    Form("eq", _EMENDO, {"created_at": "2026-01-03"}, {"museum"}, False),
    Form("eq", _MEM0, {"AND": [{"metadata": {"topic": "art"}}]}, {"museum"}),
    Form("eq", _LANGCHAIN, {"topic": {"$eq": "art"}}, {"museum"}),
    Form("eq", _LANGCHAIN, {"$and": [{"topic": "art"}]}, {"museum"}),
    Form("ne", _EMENDO, {"metadata": {"topic": {"ne": "food"}}}, {"cafe", "museum", "bare"}),
    Form("ne", _LANGCHAIN, {"price": {"$ne": 9}}, {"shop", "cafe", "bare"}),
    Form("in", _EMENDO, {"metadata": {"tags": ["cheap", "blue"]}}, {"shop"}),
    Form("in", _MEM0, {"metadata": {"price": {"in": [5, 7.5]}}}, {"shop", "cafe"}),
    Form("in", _LANGCHAIN, {"price": {"$in": [5.0, 9]}}, {"shop", "museum"}),
    Form("nin", _EMENDO, {"metadata": {"tags": {"nin": ["cheap", "blue"]}}}, {"cafe", "museum", "bare"}),
    Form("nin", _LANGCHAIN, {"topic": {"$nin": ["art", "food"]}}, {"cafe", "bare"}),
    Form("gt", _EMENDO, {"metadata": {"price": {"gt": 5}}}, {"cafe", "museum"}, False),
    Form("gt", _EMENDO, {"created_at": {"gt": date(2026, 1, 2)}}, {"museum", "bare"}, False),
    Form("gt", _LANGCHAIN, {"price": {"$gt": 7.5}}, {"museum"}, False),
    Form("gte", _EMENDO, {"metadata": {"seen": {"gte": "2026-03-02"}}}, {"museum"}, False),
    Form("gte", _EMENDO, {"expires_at": {"gte": "2090-01-01"}}, {"museum"}),
    Form("gte", _EMENDO, {"created_at": {"gte": CREATED[2].timestamp()}}, {"museum", "bare"}, False),
    Form("gte", _MEM0, {"AND": [{"created_at": {"gte": "2026-01-02"}}]}, {"cafe", "museum", "bare"}, False),
    Form("lt", _EMENDO, {"created_at": {"lt": CREATED[1]}}, {"shop"}, False),
    Form("lt", _LANGCHAIN, {"price": {"$lt": 7}}, {"shop"}, False),
    Form("lte", _EMENDO, {"created_at": {"lte": "2026-01-02"}}, {"shop", "cafe"}, False),
    Form(
        "lte", _EMENDO, {"metadata": {"seen": {"lte": datetime(2026, 3, 2, 8, tzinfo=UTC)}}}, {"shop", "museum"}, False
    ),
    Form("between", _EMENDO, {"metadata": {"price": {"between": [5, 7.5]}}}, {"shop", "cafe"}, False),
    Form("between", _LANGCHAIN, {"price": {"$between": [6, 8]}}, {"cafe"}, False),
    Form("exists", _EMENDO, {"metadata": {"tags": {"exists": True}}}, {"shop", "cafe", "museum"}),
    Form("exists", _EMENDO, {"expires_at": {"exists": False}}, {"shop", "cafe", "bare"}),
    Form("exists", _MEM0, {"AND": [{"metadata": {"open": "*"}}]}, {"shop", "museum"}),
    Form("exists", _MEM0, {"AND": [{"agent_id": "*"}]}, {"cafe"}, False),
    Form("exists", _LANGCHAIN, {"open": {"$exists": False}}, {"cafe", "bare"}),
    Form("contains", _EMENDO, {"metadata": {"tags": {"contains": "red"}}}, {"shop", "cafe"}, False),
    Form("contains", _EMENDO, {"metadata": {"topic": {"contains": "Art"}}}, {"cafe"}, False),
    Form("icontains", _MEM0, {"metadata": {"topic": {"icontains": "ART"}}}, {"cafe", "museum"}, False),
    Form("not", _EMENDO, {"metadata": {"price": {"not": {"gt": 5}}}}, {"shop", "bare"}, False),
    Form("AND", _MEM0, {"AND": [{"metadata": {"open": True}}, {"metadata": {"price": 5}}]}, {"shop"}),
    Form("AND", _LANGCHAIN, {"$and": [{"open": True}, {"price": {"$gte": 6}}]}, set(), False),
    Form("AND", _LANGCHAIN, {"topic": "art", "price": {"$exists": False}}, set(), True),
    Form("OR", _MEM0, {"OR": [{"agent_id": "guide"}, {"metadata": {"price": 5}}]}, {"shop", "cafe"}),
    Form("OR", _LANGCHAIN, {"$or": [{"topic": "art"}, {"price": {"$lt": 6}}]}, {"shop", "museum"}, False),
    Form("NOT", _MEM0, {"NOT": [{"agent_id": "guide"}, {"metadata": {"price": 5}}]}, {"museum", "bare"}),
    Form("NOT", _LANGCHAIN, {"$not": {"topic": "art"}}, {"shop", "cafe", "bare"}),
]
