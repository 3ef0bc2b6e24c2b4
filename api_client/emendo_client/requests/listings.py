"""The listings that a caller may ask for, checked: of memories in some order, and of users, agents or runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_client.requests.cursors import read_cursor, write_cursor
from emendo_client.requests.filters import Filter

ORDERS = ("-created_at", "created_at", "-updated_at", "updated_at")
MAX_PAGE_SIZE = 1_000
MAX_PAGE = 1_000_000
# A stored time: text order is time order.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@dataclass(frozen=True)
class Listing:
    """Memories in one order, and the page of them that is wanted.

    Attributes:
        order: one of ORDERS; a minus means the newest first. Memories of one time are ordered by their ids.
        size: the largest number of memories of the page.
        page: its number, where no cursor is given.
        after: time and id of the last memory before the page; None for the first page or a numbered one.
    """

    project: str
    wanted: Filter
    order: str
    size: int
    page: int = 1
    include_deleted: bool = False
    after: tuple[str, str] | None = field(default=None)

    @property
    def sorted_by(self) -> str:
        """The field of the order."""
        return self.order.removeprefix("-")

    @property
    def offset(self) -> int:
        """How many memories stand before a page by its number."""
        return (self.page - 1) * self.size

    @property
    def is_descending(self) -> bool:
        """True when the newest come first."""
        return self.order.startswith("-")

    def cursor(self, time: str, memory_id: str) -> str:
        """The cursor of the place behind a memory."""
        return write_cursor(_identity(self), (time, memory_id))


def listing(
    project: str,
    wanted: Filter,
    *,
    order: Any,
    limit: Any,
    cursor: Any,
    page: Any,
    page_size: Any,
    include_deleted: Any,
) -> Listing:
    """Checks what `get_all` was given.

    Raises:
        ValidationError: a value is wrong, the cursor is another listing's, or a page goes with a cursor.
    """
    asked = Listing(
        project=project,
        wanted=wanted,
        order=validation.one_of(order, "order", ORDERS),
        size=validation.positive(page_size, "page_size", MAX_PAGE_SIZE)
        if limit is None
        else validation.positive(limit, "limit", MAX_PAGE_SIZE),
        page=validation.positive(page, "page", MAX_PAGE),
        include_deleted=validation.flag(include_deleted, "include_deleted"),
    )
    if cursor is None:
        return asked
    if asked.page > 1:
        raise ValidationError("page and cursor are both given", suggestion="read on with the cursor alone")
    time, memory_id = read_cursor(cursor, _identity(asked), 2)
    if not _TIME.fullmatch(time):
        raise ValidationError("cursor is malformed", suggestion="use the next_cursor of a page")
    after = (time, validation.memory_id(memory_id))
    return Listing(project, wanted, asked.order, asked.size, include_deleted=asked.include_deleted, after=after)


def _identity(asked: Listing) -> tuple[Any, ...]:
    return ("memories", asked.project, asked.order, asked.include_deleted, *identity(asked.wanted))


def identity(wanted: Filter) -> tuple[Any, ...]:
    """The parts in which two filters differ."""
    return (wanted.clauses, wanted.parameters, repr(wanted.conditions))


@dataclass(frozen=True)
class OwnerListing:
    """The users, agents or runs of a project, by their ids.

    Attributes:
        name: user_id, agent_id or run_id.
        after: the last id before the page; empty for the first page.
    """

    project: str
    name: str
    size: int
    after: str = ""

    def cursor(self, owner: str) -> str:
        """The cursor of the place behind an id."""
        return write_cursor((self.name, self.project), (owner,))


def owner_listing(project: str, name: str, limit: Any, cursor: Any) -> OwnerListing:
    """Checks what `users`, `agents` or `runs` was given.

    Raises:
        ValidationError: a value is wrong, or the cursor is another listing's.
    """
    size = validation.positive(limit, "limit", MAX_PAGE_SIZE)
    if cursor is None:
        return OwnerListing(project, name, size)
    (after,) = read_cursor(cursor, (name, project), 1)
    return OwnerListing(project, name, size, validation.scope_id(after, "cursor") or "")
