"""A filter as a tree of conditions, whatever its spelling was. Pure.

Of each condition one form is left: `ne` is a negated `in`, `between` is two limits, a day is a span of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

ID_FIELDS = ("user_id", "agent_id", "run_id", "actor_id", "role")
TIME_FIELDS = ("created_at", "updated_at", "expires_at")
METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Span:
    """A moment, or a whole day, in microseconds since 1970; both ends belong to it."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one field; for a list in the metadata, it must hold for one member.

    Attributes:
        field: one of ID_FIELDS and TIME_FIELDS, or METADATA.
        operator: see below.
        operand: `in`: a tuple of values. `during`: a Span. Of a limit a Span, a number or a string; of the last two a
            string, folded for `icontains`. `exists`: None.
        path: of METADATA, the keys, joined by dots.
    """

    field: str
    operator: Literal["in", "during", "gt", "gte", "lt", "lte", "exists", "contains", "icontains"]
    operand: Any = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Several conditions: all of them must hold, or any of them."""

    members: tuple[Node, ...]
    needs_all: bool


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite, also for memories that lack the field."""

    member: Node


Node = Condition | Group | Negation


def pins_scope(node: Node) -> bool:
    """True when the filter admits only memories of users, agents or runs that it names: it limits a read as a scope."""
    if isinstance(node, Condition):
        return node.operator == "in" and node.field in ("user_id", "agent_id", "run_id")
    if isinstance(node, Group):
        return (any if node.needs_all else all)(map(pins_scope, node.members))
    return False
