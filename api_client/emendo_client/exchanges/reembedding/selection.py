"""The selection of memories that need a vector, by a few fields of their hashes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.pipeline import as_text

SCOPE = ("project", "user_id", "agent_id", "run_id")
FLAWS = ("missing", "wrong_model", "wrong_dimensions")
_FIELDS = ("hash", "embedding_space")
_FIELDS_OF_A_REPAIR = (*_FIELDS, "embedding_model", *SCOPE)


def checked_filters(filters: Any) -> dict[str, Any] | None:
    """The filters of a repair: a memory matches if it has one of the FLAWS and all the SCOPE ids.

    Raises:
        ValidationError: the filters are empty, or hold an unknown field or a wrong value.
    """
    if filters is None:
        return None
    if not isinstance(filters, Mapping) or not filters:
        raise ValidationError(
            "filters is no mapping, or empty",
            suggestion='for example {"missing": True} or {"user_id": "ana"}; leave it out to re-embed everything',
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
    """The memories to embed for one space.

    Attributes:
        record: the space.
        filters: the filters of a repair, from `checked_filters`; None selects the memories that do not list the space.
    """

    record: SpaceRecord
    filters: Mapping[str, Any] | None = None

    def reads(self, key: str) -> list[tuple[str, ...]]:
        """The commands that read the needed fields of the memory at that key; always the same number."""
        if self.filters is None:
            return [("HMGET", key, *_FIELDS)]
        return [("HMGET", key, *_FIELDS_OF_A_REPAIR), ("HSTRLEN", key, self.record.field)]

    def finds(self, values: Sequence[Any], size: int = 0) -> bool:
        """True when the memory needs a vector; an erased or missing memory never does.

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
