"""Which memories need a vector, told from a few fields of their hashes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord

SCOPE = ("project", "user_id", "agent_id", "run_id")
FLAWS = ("missing", "wrong_model", "wrong_dimensions")
_FIELDS = ("hash", "embedding_space")
_FIELDS_OF_A_REPAIR = (*_FIELDS, "embedding_model", *SCOPE)


def checked_filters(filters: Any) -> dict[str, Any] | None:
    """Filters of a repair: FLAWS (True), of which a memory has one, and SCOPE ids, all of which it has.

    Raises:
        ValidationError: there are none, or one that does not exist.
    """
    if filters is None:
        return None
    if not isinstance(filters, Mapping) or not filters:
        raise ValidationError(
            "filters is no mapping, or empty",
            suggestion='for instance {"missing": True} or {"user_id": "ana"}; leave it out to re-embed everything',
        )
    if not filters.keys() <= {*SCOPE, *FLAWS}:
        raise ValidationError("filters has an unknown field", suggestion=f"use {', '.join((*FLAWS, *SCOPE))}")
    for name in FLAWS:
        if name in filters and filters[name] is not True:
            raise ValidationError(f"filters[{name!r}] is not True", suggestion="leave it out instead")
    ids = {name: validation.scope_id(filters[name], f"filters[{name!r}]") for name in SCOPE if name in filters}
    empty = [name for name, value in ids.items() if value is None]
    if empty:
        raise ValidationError(f"filters[{empty[0]!r}] is None", suggestion="leave it out instead")
    return {**{name: True for name in FLAWS if name in filters}, **ids}


@dataclass(frozen=True, slots=True)
class Selection:
    """Finds memories to embed for one space.

    Attributes:
        record: the space.
        filters: of a repair, as `checked_filters` gives them; None finds those that do not list the space.
    """

    record: SpaceRecord
    filters: Mapping[str, Any] | None = None

    def reads(self, key: str) -> list[tuple[str, ...]]:
        """The commands that read what is looked at, of the memory at that key; as many for each memory."""
        if self.filters is None:
            return [("HMGET", key, *_FIELDS)]
        return [("HMGET", key, *_FIELDS_OF_A_REPAIR), ("HSTRLEN", key, self.record.field)]

    def finds(self, values: Sequence[Any], size: int = 0) -> bool:
        """Whether the memory needs a vector; one that was erased, or is gone, never does.

        Args:
            values, size: the replies to `reads`.
        """
        if not values[0]:
            return False
        lists_it = self.record.name in as_text(values[1]).split(",")
        if self.filters is None:
            return not lists_it
        model, *scope = map(as_text, values[2:])
        if any(self.filters.get(name, value) != value for name, value in zip(SCOPE, scope, strict=True)):
            return False
        flaws = {
            "missing": not lists_it or not size,
            "wrong_model": model != self.record.space.model,
            "wrong_dimensions": size not in (0, self.record.vector_bytes),
        }
        asked = [name for name in FLAWS if name in self.filters]
        return not asked or any(flaws[name] for name in asked)
