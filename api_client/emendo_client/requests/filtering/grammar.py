"""The reading of filters, in Emendo's spelling, mem0's and LangChain's. Pure.

Emendo: `{"role": "user", "metadata": {"topic": ["food", "art"], "price": {"gte": 5}}}`
mem0: `{"AND": [{"user_id": "ana"}, {"NOT": [{"created_at": {"lt": "2026-01-01"}}]}]}`
LangChain: `{"$or": [{"topic": {"$eq": "food"}}, {"price": {"$between": [5, 9]}}]}`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import content
from emendo_client.requests.filtering.conditions import (
    WHAT_A_CONDITION_IS,
    ConditionReader,
    Subject,
    check_depth,
    every,
    shown,
)
from emendo_client.requests.filtering.nodes import ID_FIELDS, METADATA, TIME_FIELDS, Group, Negation, Node
from emendo_client.requests.filtering.operands import MAX_VALUE_CHARS
from emendo_config.store.memory_fields import MEMORY_FIELDS

LOGICAL = ("AND", "OR", "NOT")
# No metadata key is meant by them, also in spellings where other names are metadata keys.
_OWN_NAMES = frozenset({*MEMORY_FIELDS, "metadata_tags", "expires_ms", "deleted_ms", "memory_id", "score", "", "*"})


class Spelling(Enum):
    """The spelling around a condition, which decides what a bare name and a bare "*" mean."""

    EMENDO = auto()
    MEM0 = auto()  # "*" stands for any value
    LANGCHAIN = auto()  # a name that is no field is a metadata key


def read(filters: Any) -> Node | None:
    """The tree of a filter; None if it has no condition.

    Raises:
        ValidationError: an unknown field or operator, a value that does not go with it, or more than the limits allow.
    """
    if not isinstance(filters, Mapping):
        raise ValidationError("filters is not a mapping", suggestion='for instance {"metadata": {"topic": "food"}}')
    return _Reader().mapping(filters, Spelling.EMENDO, 1)


class _Reader:
    def __init__(self) -> None:
        self._conditions = ConditionReader()

    def mapping(self, given: Any, spelling: Spelling, depth: int) -> Node | None:
        """All entries of a mapping must hold."""
        check_depth(depth)
        if not isinstance(given, Mapping):
            raise ValidationError(
                "filters has something other than a mapping under AND, OR or NOT",
                suggestion='for instance {"AND": [{"role": "user"}, {"metadata": {"topic": "food"}}]}',
            )
        if any(map(_has_dollars, given.values())):  # one such condition shows whose spelling the others have
            spelling = Spelling.LANGCHAIN
        return every(node for name, value in given.items() for node in self._entry(name, value, spelling, depth))

    def _entry(self, name: Any, value: Any, spelling: Spelling, depth: int) -> Iterable[Node]:
        if not isinstance(name, str):
            raise _unknown_field(name)
        logical = name.removeprefix("$").upper()
        if logical in LOGICAL and name in (logical, f"${logical.lower()}"):
            inner = Spelling.LANGCHAIN if name.startswith("$") else Spelling.MEM0
            return [self._logical(logical, value, inner, depth)]
        if name == METADATA:
            return self._metadata(value, spelling, depth)
        return [self._condition(_subject(name, spelling), value, spelling, depth)]

    def _logical(self, name: str, value: Any, spelling: Spelling, depth: int) -> Node:
        given = value if isinstance(value, list | tuple) else [value]
        members = tuple(node for each in given if (node := self.mapping(each, spelling, depth + 1)) is not None)
        if not members or len(members) < len(given):
            raise ValidationError(f"filters has {name} without a condition", suggestion="leave it out instead")
        node = members[0] if len(members) == 1 else Group(members, needs_all=name == "AND")
        return Negation(node) if name == "NOT" else node

    def _metadata(self, wanted: Any, spelling: Spelling, depth: int) -> Iterable[Node]:
        if not isinstance(wanted, Mapping):
            raise ValidationError(
                "filters['metadata'] is not a mapping of keys to conditions", suggestion=WHAT_A_CONDITION_IS
            )
        return [self._condition(Subject(METADATA, path), value, spelling, depth) for path, value in wanted.items()]

    def _condition(self, subject: Subject, value: Any, spelling: Spelling, depth: int) -> Node:
        if subject.field == METADATA:
            content.json_value({subject.path: None}, subject.where)
            if len(subject.path) > MAX_VALUE_CHARS:
                raise ValidationError(f"{subject.where} has a key of more than {MAX_VALUE_CHARS:,} characters")
        return self._conditions.read(subject, value, depth, has_wildcards=spelling is Spelling.MEM0)


def _subject(name: str, spelling: Spelling) -> Subject:
    if name in ID_FIELDS or name in TIME_FIELDS:
        return Subject(name)
    if name.startswith(f"{METADATA}."):
        return Subject(METADATA, name.removeprefix(f"{METADATA}."))
    if spelling is Spelling.LANGCHAIN and name not in _OWN_NAMES and not name.startswith("$"):
        return Subject(METADATA, name)
    raise _unknown_field(name)


def _has_dollars(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(str(name).startswith("$") for name in value)


def _unknown_field(name: Any) -> ValidationError:
    return ValidationError(
        f"filters has an unknown field {shown(name)}",
        suggestion=f"use {', '.join((*ID_FIELDS, *TIME_FIELDS, METADATA, *LOGICAL))}; "
        'for a metadata key {"metadata": {key: value}}',
    )
