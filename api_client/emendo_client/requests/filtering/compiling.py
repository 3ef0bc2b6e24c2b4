"""A filter as a query of the index. Every value is a parameter of the query, never part of its text. Pure.

The index knows ids and the values in metadata by their tags, and expiry times by milliseconds. It knows no ranges of
metadata and no parts of strings. For those the query admits too much, and `matching` decides on each memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from emendo_client.records.derived_fields import MAX_PATH_CHARS, MAX_TAG_CHARS, as_json, metadata_tag, presence_tag
from emendo_client.requests.filtering.nodes import ID_FIELDS, METADATA, Condition, Group, Negation, Node, Span
from emendo_client.times import iso

_MAX_WHOLE_NUMBER = 2**63 - 1


class Parameters:
    """The parameters of a query: name, value, name, value."""

    def __init__(self) -> None:
        self.flat: list[Any] = []

    def add(self, value: Any) -> str:
        """The reference that stands for the value in the query's text."""
        name = f"p{len(self.flat) // 2}"
        self.flat += (name, value)
        return f"${name}"

    def tags(self, field: str, values: Sequence[str]) -> str:
        """The clause that the field has one of the tags."""
        return f"@{field}:{{{'|'.join(self.add(value.replace(chr(92), chr(92) * 2)) for value in values)}}}"


class Compiled(NamedTuple):
    """The clause of a condition.

    Attributes:
        text: a clause that admits every memory that the condition admits; None admits all.
        exact: it admits no other.
    """

    text: str | None
    exact: bool


_ANYTHING = Compiled(None, exact=False)


def compiled(node: Node, parameters: Parameters, *, negated: bool = False) -> Compiled:
    """The clause of a filter, or of its opposite."""
    if isinstance(node, Negation):
        return compiled(node.member, parameters, negated=not negated)
    if isinstance(node, Group):
        return _group(node, parameters, negated=negated)
    clause, exact = _condition(node, parameters)
    if clause is None or not negated:
        return Compiled(clause, exact=exact)
    return Compiled(f"-({clause})", exact=True) if exact else _ANYTHING


def time_limits(node: Node) -> list[str]:
    """Conditions on created_at and updated_at that all must hold, as expressions of FT.AGGREGATE's FILTER.

    They are comparisons of texts, since text order is time order there, and hold nothing but times.
    """
    if isinstance(node, Group) and node.needs_all:
        return [limit for member in node.members for limit in time_limits(member)]
    if not isinstance(node, Condition) or node.field not in ("created_at", "updated_at") or node.operator == "exists":
        return []
    first, last = iso(node.operand.first), iso(node.operand.last)
    field = f"@{node.field}"
    limits = {
        "gt": [f"{field} > '{last}'"],
        "gte": [f"{field} >= '{first}'"],
        "lt": [f"{field} < '{first}'"],
        "lte": [f"{field} <= '{last}'"],
    }.get(node.operator, [f"{field} >= '{first}'", f"{field} <= '{last}'"])
    return [f"exists({field})", *limits]  # a damaged memory may have no time


def _group(node: Group, parameters: Parameters, *, negated: bool) -> Compiled:
    parts = [compiled(member, parameters, negated=negated) for member in node.members]
    exact = all(exact for _, exact in parts)
    clauses = [clause for clause, _ in parts if clause is not None]
    if node.needs_all is not negated:
        return Compiled(" ".join(map("({})".format, clauses)) or None, exact=exact)
    return Compiled("|".join(map("({})".format, clauses)) if len(clauses) == len(parts) else None, exact=exact)


def _condition(condition: Condition, parameters: Parameters) -> Compiled:
    if condition.field == METADATA:
        return _metadata(condition, parameters)
    if condition.field in ID_FIELDS and condition.operator == "in":
        return Compiled(parameters.tags(condition.field, condition.operand), exact=True)
    if condition.field == "expires_at":
        return _expiry(condition, parameters)
    return _ANYTHING


def _metadata(condition: Condition, parameters: Parameters) -> Compiled:
    if condition.operator == "in":
        tags = [_spellings(condition.path, value) for value in condition.operand]
        if all(tags):
            return Compiled(parameters.tags("metadata_tags", list(chain.from_iterable(tags))), exact=True)
    # Each of the other operators needs a value to be there.
    presence = presence_tag(condition.path)
    if presence is None or (condition.operator == "in" and None in condition.operand):
        return _ANYTHING
    return Compiled(parameters.tags("metadata_tags", [presence]), exact=condition.operator == "exists")


def _spellings(path: str, value: Any) -> list[str]:
    """The tags of a value: of a number each way to write it. Empty if it is too long to be a tag."""
    values = [value]
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        whole = int(value)
        values = [whole] if abs(whole) <= _MAX_WHOLE_NUMBER else []
        values += [each for each in ((0.0, -0.0) if not whole else (float(whole),)) if each == whole]
    tags = [tag for each in values if (tag := metadata_tag(path, each)) is not None]
    if tags and len(path) > MAX_PATH_CHARS:  # earlier releases wrote a long path out
        written_out = (f"{path}={as_json(each)}" for each in values)
        tags += [tag for tag in written_out if len(tag) <= MAX_TAG_CHARS and not path[:1].isspace()]
    return tags


def _expiry(condition: Condition, parameters: Parameters) -> Compiled:
    """The index holds milliseconds, rounded down, so some limits admit up to a millisecond too much."""
    span: Span | None = condition.operand
    if span is None:
        return Compiled("@expires_ms:[-inf +inf]", exact=True)
    lower, upper = "-inf", "+inf"
    if condition.operator in ("gt", "gte", "during"):
        lower = parameters.add(str((span.last if condition.operator == "gt" else span.first) // 1_000))
    if condition.operator in ("lt", "lte", "during"):
        upper = parameters.add(str((span.first if condition.operator == "lt" else span.last) // 1_000))
    exact = condition.operator == "gte" and span.first % 1_000 == 0
    return Compiled(f"@expires_ms:[{lower} {upper}]", exact=exact)
