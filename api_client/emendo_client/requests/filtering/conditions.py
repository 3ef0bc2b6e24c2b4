"""The reading of the conditions on one field: a value, a list of values, or operators. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests.filtering import operands
from emendo_client.requests.filtering.nodes import (
    ID_FIELDS,
    METADATA,
    TIME_FIELDS,
    Condition,
    Group,
    Negation,
    Node,
    Span,
)

OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "between", "exists", "contains", "icontains", "not")
MAX_ALTERNATIVES = 100
MAX_CONDITIONS = 100
MAX_VALUES = 1_000
MAX_DEPTH = 8
WHAT_A_CONDITION_IS = 'a condition is a value, a list of values, or for instance {"gte": 5}'


@dataclass(frozen=True, slots=True)
class Subject:
    """The field that conditions are about; `path` leads to a value of the metadata."""

    field: str
    path: str = ""

    @property
    def where(self) -> str:
        """The name of the field in messages."""
        return f"filters[{self.field!r}]"


class ConditionReader:
    """Reads the conditions of one filter, and counts them."""

    def __init__(self) -> None:
        self._conditions = 0
        self._values = 0

    def read(self, subject: Subject, value: Any, depth: int, *, has_wildcards: bool = False) -> Node:
        """The tree of a condition.

        Args:
            subject: what it is about.
            value: as the caller gave it.
            depth: of the mapping that holds it.
            has_wildcards: True if "*" stands for any value.
        """
        if isinstance(value, Mapping):
            return self._operators(subject, value, depth)
        if has_wildcards and isinstance(value, str) and value == "*":
            return self._one(subject, "exists", True, depth)
        return self._one(subject, "in" if _is_list(value) else "eq", value, depth)

    def _operators(self, subject: Subject, given: Mapping[Any, Any], depth: int) -> Node:
        check_depth(depth)
        nodes = []
        for name, value in given.items():
            operator = name.removeprefix("$") if isinstance(name, str) else None
            if operator not in OPERATORS:
                into_objects = "; for a key of an object, the path a.b" if subject.field == METADATA else ""
                raise ValidationError(
                    f"{subject.where} has an unknown operator {shown(name)}",
                    suggestion=f"use {', '.join(OPERATORS)}{into_objects}",
                )
            nodes.append(self._one(subject, operator, value, depth))
        found = every(nodes)
        if found is None:
            raise ValidationError(
                f"{subject.where} has a condition without an operator", suggestion=WHAT_A_CONDITION_IS
            )
        return found

    def _one(self, subject: Subject, operator: str, value: Any, depth: int) -> Node:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise ValidationError(
                f"filters has more than {MAX_CONDITIONS} conditions", suggestion="use in for alternatives of one field"
            )
        match operator:
            case "not":
                node = self._opposite(subject, value, depth)
            case "exists":
                node = _existence(subject, value)
            case "eq" | "in":
                node = self._membership(subject, value, is_single=operator == "eq")
            case "ne" | "nin":
                node = Negation(self._membership(subject, value, is_single=operator == "ne"))
            case "between":
                node = self._between(subject, value)
            case "contains" | "icontains":
                node = self._containing(subject, operator, value)
            case limit:
                node = self._range(subject, limit, value)
        return node

    def _opposite(self, subject: Subject, value: Any, depth: int) -> Node:
        if not isinstance(value, Mapping):
            raise ValidationError(f"{subject.where}: not takes a mapping of operators", suggestion="or use ne or nin")
        return Negation(self._operators(subject, value, depth + 1))

    def _range(self, subject: Subject, operator: Any, value: Any) -> Node:
        self._count(1)
        where = f"{subject.where}, {operator}"
        if subject.field in ID_FIELDS:
            return Condition(subject.field, operator, operands.identifier(value, where))
        of = operands.moment if subject.field in TIME_FIELDS else operands.limit
        return Condition(subject.field, operator, of(value, where), subject.path)

    def _between(self, subject: Subject, value: Any) -> Node:
        if not isinstance(value, list | tuple) or len(value) != len(("from", "to")):
            raise ValidationError(f"{subject.where}: between takes a list of two limits")
        return Group((self._range(subject, "gte", value[0]), self._range(subject, "lte", value[1])), needs_all=True)

    def _containing(self, subject: Subject, operator: Any, value: Any) -> Node:
        if subject.field in TIME_FIELDS:
            raise ValidationError(f"{subject.where} is a time, which contains nothing", suggestion="use gte and lt")
        if isinstance(value, int | float) and subject.field == METADATA:  # a member of a list, or the value itself
            return self._membership(subject, value, is_single=True)
        self._count(1)
        text = operands.part(value, f"{subject.where}, {operator}")
        return Condition(subject.field, operator, text.casefold() if operator == "icontains" else text, subject.path)

    def _membership(self, subject: Subject, value: Any, *, is_single: bool) -> Node:
        """The field has one of the values. None means that there is no value; an id is never None."""
        values = [value] if is_single or not _is_list(value) else list(value)
        self._count(len(values))
        if isinstance(value, set | frozenset):  # in one order in each process, as a cursor needs
            values.sort(key=repr)
        may_be_none = subject.field not in ID_FIELDS
        if not 1 <= len(values) <= MAX_ALTERNATIVES or (not may_be_none and any(each is None for each in values)):
            none = "" if may_be_none else ", none of them None"
            raise ValidationError(f"{subject.where} needs 1 to {MAX_ALTERNATIVES} values{none}")
        checked = [_operand(subject, each) for each in values]
        plain = tuple(each for each in checked if each is not None and not isinstance(each, Span))
        nodes: list[Node] = [
            Condition(subject.field, "during", each, subject.path) for each in checked if isinstance(each, Span)
        ]
        if plain:
            nodes.append(Condition(subject.field, "in", plain, subject.path))
        if None in checked:
            nodes.append(Negation(Condition(subject.field, "exists", path=subject.path)))
            if subject.field == METADATA:  # a null in a list or in an object
                nodes.append(Condition(subject.field, "in", (None,), subject.path))
        return nodes[0] if len(nodes) == 1 else Group(tuple(nodes), needs_all=False)

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise ValidationError(f"filters has more than {MAX_VALUES:,} values in all")


def check_depth(depth: int) -> None:
    """Refuses what is nested too deeply."""
    if depth > MAX_DEPTH:
        raise ValidationError(f"filters is nested deeper than {MAX_DEPTH} levels")


def every(nodes: Iterable[Node]) -> Node | None:
    """All of the conditions; None if there is none."""
    members = tuple(nodes)
    return Group(members, needs_all=True) if len(members) > 1 else members[0] if members else None


def shown(name: Any) -> str:
    """A name that the caller gave, as far as a message may show it."""
    return ascii(name[:40])[:40] if isinstance(name, str) else f"of type {type(name).__name__}"


def _existence(subject: Subject, value: Any) -> Node:
    if not isinstance(value, bool):
        raise ValidationError(f"{subject.where}: exists takes True or False")
    found = Condition(subject.field, "exists", path=subject.path)
    return found if value else Negation(found)


def _operand(subject: Subject, value: Any) -> Any:
    if subject.field in ID_FIELDS:
        return operands.identifier(value, subject.where)
    if value is None:
        return None
    return (operands.moment if subject.field in TIME_FIELDS else operands.scalar)(value, subject.where)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)
