"""A filter held against one memory, exactly. The index narrows a read; this decides where the index cannot. Pure."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emendo_client.records.derived_fields import PRESENT, Leaf, metadata_leaves
from emendo_client.requests.filtering.nodes import METADATA, Condition, Group, Negation, Node, Span
from emendo_client.times import stored_moment

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def admits(node: Node, memory: Mapping[str, Any]) -> bool:
    """True when the memory meets the filter.

    Args:
        node: the filter.
        memory: the fields `fields_of` names, as the hash has them, but `metadata` as a mapping. None for no value.
    """
    return _Admission(memory).of(node)


def fields_of(node: Node) -> set[str]:
    """The fields of a memory that `admits` looks at."""
    if isinstance(node, Condition):
        return {node.field}
    members = node.members if isinstance(node, Group) else (node.member,)
    return set[str]().union(*map(fields_of, members))


class _Admission:
    def __init__(self, memory: Mapping[str, Any]) -> None:
        self._memory = memory
        self._leaves: Mapping[str, list[Leaf]] | None = None

    def of(self, node: Node) -> bool:
        if isinstance(node, Negation):
            return not self.of(node.member)
        if isinstance(node, Group):
            return (all if node.needs_all else any)(map(self.of, node.members))
        return _holds(node, self._values(node))

    def _values(self, condition: Condition) -> Iterable[Leaf]:
        if condition.field != METADATA:
            value = self._memory.get(condition.field)
            return () if value is None else (Leaf(condition.field, value),)
        metadata = self._memory[METADATA]
        if "." not in condition.path:  # no path into an object; most are none, and this is three times as fast
            value = metadata.get(condition.path)
            if isinstance(value, dict | list):
                return [leaf for leaf in metadata_leaves(value, condition.path) if leaf.path == condition.path]
            return () if value is None else (Leaf(condition.path, value),)
        if self._leaves is None:
            leaves = defaultdict(list)
            for leaf in metadata_leaves(metadata):
                leaves[leaf.path].append(leaf)
            self._leaves = leaves
        return self._leaves.get(condition.path, ())


def _holds(condition: Condition, leaves: Iterable[Leaf]) -> bool:
    operand = condition.operand
    match condition.operator:
        case "exists":
            return any(leaf.value is not None for leaf in leaves)
        case "in":
            return any(_same(leaf.value, each) for leaf in leaves for each in operand)
        case "contains":
            return any(_contains(leaf, leaf.value, operand) for leaf in leaves if isinstance(leaf.value, str))
        case "icontains":
            return any(
                _contains(leaf, leaf.value.casefold(), operand) for leaf in leaves if isinstance(leaf.value, str)
            )
        case limit:
            return any(_within(leaf.value, limit, operand) for leaf in leaves)


def _contains(leaf: Leaf, value: str, part: str) -> bool:
    return value == part if leaf.is_member else part in value


def _same(value: Any, wanted: Any) -> bool:
    """1 is 1.0, and neither is True."""
    if value is PRESENT or isinstance(value, bool) is not isinstance(wanted, bool):
        return False
    return bool(value == wanted)


def _within(value: Any, limit: str, operand: Any) -> bool:
    if isinstance(operand, Span):
        moment = stored_moment(value) if isinstance(value, str) else None
        if moment is None:
            return False
        if limit == "during":
            return operand.first <= moment <= operand.last
        return _COMPARISONS[limit](moment, operand.last if limit in ("gt", "lte") else operand.first)
    if isinstance(operand, str):
        return isinstance(value, str) and _COMPARISONS[limit](value, operand)
    return isinstance(value, int | float) and not isinstance(value, bool) and _COMPARISONS[limit](value, operand)
