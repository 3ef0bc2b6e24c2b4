"""Search filters. Every value is sent as a query parameter, never inside the query text.

So no id or metadata value can widen a filter, whatever its characters, and nothing needs escaping. The project's filter
is always added here; a caller cannot give another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_client.requests.filtering import grammar, matching
from emendo_client.requests.filtering.compiling import Parameters, compiled, time_limits
from emendo_client.requests.filtering.nodes import Node, pins_scope


class Filter:
    """A filter expression and its parameters, built by `scoped`.

    Attributes:
        clauses: all of them must hold.
        conditions: a caller's filter; None for none.
        residual: what the index cannot decide. The clauses admit too much then, and `admits` decides. None if they are
            exact.
        only: the arguments that limit a query to the keys found by `exchanges.candidates.narrowed`.
    """

    def __init__(self) -> None:
        self.clauses: list[str] = []
        self.conditions: Node | None = None
        self.residual: Node | None = None
        self.only: tuple[Any, ...] = ()
        self._parameters = Parameters()

    @property
    def parameters(self) -> list[Any]:
        """Name, value, … of the query's parameters."""
        return self._parameters.flat

    def require(self, field: str, *values: str) -> None:
        """The field must be one of the values."""
        self.clauses.append(self._parameters.tags(field, values))

    def require_all(self, node: Node) -> None:
        """The conditions of a caller's filter must hold."""
        clause, exact = compiled(node, self._parameters)
        if clause is not None:
            self.clauses.append(f"({clause})")
        self.conditions = node
        self.residual = None if exact else node

    def limited_to(self, keys: Sequence[str]) -> Filter:
        """The same filter of these memories only, which meet the residual; each key is a memory's."""
        narrowed = Filter()
        narrowed.clauses, narrowed._parameters, narrowed.conditions = self.clauses, self._parameters, self.conditions
        narrowed.only = ("INKEYS", len(keys) or 1, *(keys or ("",)))  # no memory has the empty key
        return narrowed

    def admits(self, memory: Mapping[str, Any]) -> bool:
        """True when the memory meets the residual; see `matching.admits`."""
        return self.residual is None or matching.admits(self.residual, memory)

    @property
    def residual_fields(self) -> list[str]:
        """The fields of a memory that `admits` looks at."""
        return [] if self.residual is None else sorted(matching.fields_of(self.residual))

    @property
    def time_limits(self) -> list[str]:
        """Parts of the residual that FT.AGGREGATE can decide, as FILTER expressions; all of them must hold."""
        return [] if self.residual is None else time_limits(self.residual)

    @property
    def clauses_only(self) -> str:
        """All clauses, for deleted and expired memories too."""
        return " ".join(self.clauses)

    def expression(self, now: float) -> str:
        """All clauses, without memories that are deleted, or expired at `now` (seconds, by Redis' clock)."""
        return f"({self.clauses_only} @is_deleted:{{0}} -@expires_ms:[-inf {int(now * 1000)}])"


def scoped(
    project: str,
    user_id: str | None,
    agent_id: str | None,
    run_id: str | None,
    filters: Mapping[str, Any] | None,
    *,
    all_users: bool,
    may_be_empty: bool = True,
) -> Filter:
    """The filter of one read.

    Args:
        filters: further conditions, such as `{"role": "user"}` or `{"metadata": {"price": {"gte": 5}}}`;
            docs/how-to/filter.md has them all. Those that name users, agents or runs are a scope.
        all_users: True to read without a scope.
        may_be_empty: False to refuse filters without a condition.

    Raises:
        ValidationError: no scope and not `all_users`, or a filter that cannot be read.
    """
    validation.flag(all_users, "all_users")
    node = None if filters is None else grammar.read(filters)
    if filters is not None and node is None and not may_be_empty:
        raise ValidationError("filters has no condition", suggestion="leave filters out to choose the whole scope")
    has_scope = all_users or (node is not None and pins_scope(node))
    expression = Filter()
    expression.require("project", project)
    for name, value in validation.scope(user_id, agent_id, run_id, required=not has_scope).items():
        expression.require(name, value)
    if node is not None:
        expression.require_all(node)
    return expression
