"""Listings: memories page by page in a stable order, their number, and the users, agents and runs that have any.

A cursor names the time and id of the last memory read, and the next page begins behind it. So it makes no difference
which memories came and went meanwhile, nor how many there are: by number Redis gives the first million only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from emendo_client.exchanges.candidates import narrowed
from emendo_client.exchanges.exchange import Exchange, RoundTrip, time_of_data
from emendo_client.models import Memory, Owner, OwnerPage, Page
from emendo_client.records.memories import memories_found, readable_memory
from emendo_client.requests.filters import Filter
from emendo_client.requests.listings import Listing, OwnerListing
from emendo_client.times import iso, microseconds_of
from emendo_config import Keys
from emendo_config.store.clock import RedisClock
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_config.store.pipeline import Command, as_text

# Without the first, Redis gives what it has found after half a second, and does not say so.
_WHOLE = ("TIMEOUT", 0, "DIALECT", 2)
# Memories beyond the page that are sorted with it, so that few pages end among memories of one time.
_SLACK = 64
# The tombstones of erased memories, which are never shown.
_NOT_ERASED = "-(@is_deleted:{1} -@deleted_ms:[-inf +inf])"

Place = tuple[str, str]


def get_all(keys: Keys, clock: RedisClock, asked: Listing) -> Exchange[Page]:
    """One page of memories: behind the cursor's place, or by its number."""
    now = yield from time_of_data(clock)
    query = _query(asked.wanted, now, include_deleted=asked.include_deleted)
    asked = replace(asked, wanted=(yield from narrowed(keys, asked.wanted, query)))
    if asked.after is None:
        page = yield from _numbered(keys, asked, query)
        if page is not None:
            return page
    listed = _places(keys, asked, asked.after, query) if asked.after else _numbered_places(keys, asked, query)
    places, has_more = yield from listed
    reads: list[Command] = [("HMGET", keys.memory(memory_id), *MEMORY_FIELDS) for _, memory_id in places]
    counted, *read = yield RoundTrip("data", [_count(keys, asked.wanted, query), *reads])
    seen = (readable_memory(values, asked.project, now, include_deleted=asked.include_deleted) for values in read)
    return Page(
        results=[memory for memory in seen if memory is not None],
        total=int(counted[0]),
        page=asked.page,
        page_size=asked.size,
        next_cursor=asked.cursor(*places[-1]) if has_more and places else None,
    )


def count(keys: Keys, clock: RedisClock, wanted: Filter, *, include_deleted: bool) -> Exchange[int]:
    """The number of memories."""
    now = yield from time_of_data(clock)
    query = _query(wanted, now, include_deleted=include_deleted)
    wanted = yield from narrowed(keys, wanted, query)
    (reply,) = yield RoundTrip("data", [_count(keys, wanted, query)])
    return int(reply[0])


def owners(keys: Keys, clock: RedisClock, wanted: Filter, asked: OwnerListing) -> Exchange[OwnerPage]:
    """One page of the users, agents or runs that have memories, by their ids, with the number of these."""
    now = yield from time_of_data(clock)
    name = f"@{asked.name}"
    behind = f" && {name} > {_quoted(asked.after)}" if asked.after else ""
    (reply,) = yield RoundTrip(
        "data",
        [
            _aggregate(
                keys,
                wanted,
                _query(wanted, now, include_deleted=False),
                *("LOAD", 1, name, "FILTER", f"exists({name}){behind}"),
                *("GROUPBY", 1, name, "REDUCE", "COUNT", 0, "AS", "memories"),
                *("SORTBY", 2, name, "ASC", "MAX", asked.size + 1),
            )
        ],
    )
    rows = [_fields(row) for row in reply[1:]]
    found = [Owner(id=row[asked.name], memories=int(row["memories"])) for row in rows[: asked.size]]
    return OwnerPage(results=found, next_cursor=asked.cursor(found[-1].id) if len(rows) > asked.size else None)


def _numbered(keys: Keys, asked: Listing, query: str) -> Exchange[Page | None]:
    """A page by its number; None if it begins or ends among memories of one time, whose order Redis leaves open.

    One memory before the page and one behind it are read with it, to know that.
    """
    wanted, first = asked.wanted, asked.offset
    lead = 1 if first else 0
    (reply,) = yield RoundTrip(
        "data",
        [
            (
                *("FT.SEARCH", keys.index_alias, query, *wanted.only),
                *("PARAMS", len(wanted.parameters), *wanted.parameters),
                *("SORTBY", asked.sorted_by, "DESC" if asked.is_descending else "ASC"),
                *("LIMIT", first - lead, lead + asked.size + 1),
                *("RETURN", len(MEMORY_FIELDS), *MEMORY_FIELDS),
                *_WHOLE,
            )
        ],
    )
    total, found = memories_found(reply, scored=False)
    times = [_place(asked, memory)[0] for memory in found]
    last = lead + asked.size
    edges = [times[: lead + 1], times[last - 1 : last + 1]]
    if len(reply) != 2 * len(found) + 1 or any(len(edge) == 2 and edge[0] == edge[1] for edge in edges):  # noqa: PLR2004
        return None
    shown = sorted(found[lead:last], key=lambda memory: _place(asked, memory), reverse=asked.is_descending)
    cursor = asked.cursor(*_place(asked, shown[-1])) if len(found) > last else None
    return Page(results=shown, total=total, page=asked.page, page_size=asked.size, next_cursor=cursor)


def _numbered_places(keys: Keys, asked: Listing, query: str) -> Exchange[tuple[list[Place], bool]]:
    """The same as `_places` for a page by its number. Redis reads the id of every memory of the listing."""
    direction = "DESC" if asked.is_descending else "ASC"
    sorted_by = ("SORTBY", 4, f"@{asked.sorted_by}", direction, "@id", direction)
    limits = ("MAX", asked.offset + asked.size + 1, "LIMIT", asked.offset, asked.size + 1)
    (reply,) = yield RoundTrip("data", [_aggregate(keys, asked.wanted, query, "LOAD", 1, "@id", *sorted_by, *limits)])
    places = _known(reply, asked.sorted_by)
    return places[: asked.size], len(places) > asked.size


def _places(keys: Keys, asked: Listing, after: Place, query: str) -> Exchange[tuple[list[Place], bool]]:
    """The places of the memories behind the cursor's, in their order, and whether others follow.

    Redis sorts by the time alone, which it has in memory. Only the memories of a page have their ids read.
    """
    name, wanted, needed = f"@{asked.sorted_by}", asked.wanted, asked.size + 1
    time, last_id = after
    before, direction = ("<", "DESC") if asked.is_descending else (">", "ASC")

    def of_one_time(moment: str, behind: str = "") -> Command:
        rest = ("FILTER", f"@id {before} '{behind}'") if behind else ()
        loaded = ("FILTER", f"exists({name}) && {name} == '{moment}'", "LOAD", 1, "@id", *rest)
        return _aggregate(keys, wanted, query, *loaded, "SORTBY", 2, "@id", direction, "MAX", needed)

    most = needed + _SLACK
    limited = ("FILTER", f"exists({name}) && {name} {before} '{time}'")  # a damaged memory may have no time
    window = _aggregate(keys, wanted, query, *limited, "SORTBY", 2, name, direction, "MAX", most, "LOAD", 1, "@id")
    ties, following = yield RoundTrip("data", [of_one_time(time, last_id), window])
    found = [(time, memory_id) for memory_id in _ids(ties)]
    places = sorted(_known(following, asked.sorted_by), reverse=asked.is_descending)
    is_whole = len(following) - 1 < most
    if not is_whole and places:
        # Of the last time in the window, Redis may have left some memories out.
        edge = places[-1][0]
        places = [place for place in places if place[0] != edge]
        if len(found) + len(places) < needed:
            (tied,) = yield RoundTrip("data", [of_one_time(edge)])
            places += [(edge, memory_id) for memory_id in _ids(tied)]
    found += places
    return found[: asked.size], len(found) > asked.size or not is_whole


def _query(wanted: Filter, now: float, *, include_deleted: bool) -> str:
    return f"({wanted.clauses_only} {_NOT_ERASED})" if include_deleted else wanted.expression(now)


def _count(keys: Keys, wanted: Filter, query: str) -> Command:
    return (
        *("FT.SEARCH", keys.index_alias, query, *wanted.only, "NOCONTENT"),
        *("PARAMS", len(wanted.parameters), *wanted.parameters),
        *("LIMIT", 0, 0, *_WHOLE),
    )


def _aggregate(keys: Keys, wanted: Filter, query: str, *steps: Any) -> Command:
    parameters = ("PARAMS", len(wanted.parameters), *wanted.parameters)
    return ("FT.AGGREGATE", keys.index_alias, query, *wanted.only, *steps, *parameters, *_WHOLE)


def _place(asked: Listing, memory: Memory) -> Place:
    return iso(microseconds_of(getattr(memory, asked.sorted_by))), memory.id


def _known(reply: Sequence[Any], name: str) -> list[Place]:
    """The rows' places; a memory that went meanwhile has none."""
    rows = [_fields(row) for row in reply[1:]]
    return [(row[name], row["id"]) for row in rows if name in row and "id" in row]


def _ids(reply: Sequence[Any]) -> list[str]:
    return [row["id"] for row in map(_fields, reply[1:]) if "id" in row]


def _fields(row: Sequence[Any]) -> dict[str, str]:
    pairs = zip(row[::2], row[1::2], strict=True)
    return {as_text(name): as_text(value) for name, value in pairs if value is not None}


def _quoted(text: str) -> str:
    """An expression of Redis that gives the text.

    No literal can hold a backslash before a punctuation mark, since Redis takes such escapes for one within another. So
    each backslash is cut out of a literal that holds one before an `a`, which stays as it is.
    """
    pieces: list[str] = []
    for number, piece in enumerate(text.split("\\")):
        pieces += [r"substr('\a', 0, 1)"] if number else []
        pieces += ["'" + piece.replace("'", r"\'") + "'"] if piece else []
    return pieces[0] if len(pieces) == 1 else f"format('{'%s' * len(pieces)}', {', '.join(pieces)})"
