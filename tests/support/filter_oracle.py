"""A second statement of what a filter means, in plain Python: it walks the caller's spelling over a `Memory`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from emendo_client import Memory

IDS = ("user_id", "agent_id", "run_id", "actor_id", "role")
TIMES = ("created_at", "updated_at", "expires_at")
NOTHING = object()  # a list or an object: it is there, and is no value


def meets(memory: Memory, filters: Mapping[str, Any], mem0: bool = False) -> bool:
    return all(_entry(memory, name, value, mem0) for name, value in filters.items())


def _entry(memory: Memory, name: str, value: Any, mem0: bool) -> bool:
    word = name.removeprefix("$").upper()
    if word in ("AND", "OR", "NOT"):
        parts = value if isinstance(value, list) else [value]
        found = [meets(memory, part, not name.startswith("$")) for part in parts]
        return {"AND": all(found), "OR": any(found), "NOT": not any(found)}[word]
    if name == "metadata":
        return all(_condition(list(at(memory.metadata, key)), each, mem0, False) for key, each in value.items())
    if name in IDS or name in TIMES:
        own = getattr(memory, name)
        return _condition([] if own is None else [(own, False)], value, mem0, name in TIMES)
    return _condition(list(at(memory.metadata, name)), value, mem0, False)


def at(value: Any, path: str) -> Iterator[tuple[Any, bool]]:
    """The values that a path leads to, and whether each is a list's member."""
    if isinstance(value, list):
        for each in value:
            yield from at(each, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == path:
                yield from _values(item, False)
            elif path.startswith(f"{key}."):
                yield from at(item, path.removeprefix(f"{key}."))


def _values(value: Any, is_member: bool) -> Iterator[tuple[Any, bool]]:
    if isinstance(value, list):
        yield NOTHING, is_member
        for each in value:
            yield from _values(each, True)
    else:
        yield (NOTHING if isinstance(value, dict) else value), is_member


def _condition(values: list[tuple[Any, bool]], wanted: Any, mem0: bool, is_time: bool) -> bool:
    if isinstance(wanted, dict):
        return all(_operator(values, name.removeprefix("$"), each, is_time) for name, each in wanted.items())
    if mem0 and wanted == "*":
        return _operator(values, "exists", True, is_time)
    return _operator(values, "in" if isinstance(wanted, list) else "eq", wanted, is_time)


def _operator(values: list[tuple[Any, bool]], name: str, wanted: Any, is_time: bool) -> bool:
    there = any(value is not None for value, _ in values)
    match name:
        case "not":
            found = not _condition(values, wanted, False, is_time)
        case "exists":
            found = there is wanted
        case "ne" | "nin":
            found = not _operator(values, {"ne": "eq", "nin": "in"}[name], wanted, is_time)
        case "in":
            found = any(_operator(values, "eq", each, is_time) for each in wanted)
        case "eq":
            found = (wanted is None and not there) or any(_equal(value, wanted, is_time) for value, _ in values)
        case "between":
            found = all(_operator(values, *each, is_time) for each in zip(("gte", "lte"), wanted, strict=True))
        case "contains" | "icontains":
            found = _has_part(values, wanted, str.casefold if name == "icontains" else str)
        case limit:
            found = any(_compare(value, limit, wanted, is_time) for value, _ in values)
    return found


def _has_part(values: list[tuple[Any, bool]], wanted: Any, fold: Callable[[str], str]) -> bool:
    if not isinstance(wanted, str):
        return any(_equal(value, wanted, False) for value, _ in values)
    texts = [(fold(value), is_member) for value, is_member in values if isinstance(value, str)]
    return any(fold(wanted) == value if is_member else fold(wanted) in value for value, is_member in texts)


def _equal(value: Any, wanted: Any, is_time: bool) -> bool:
    if is_time or isinstance(wanted, date):
        return wanted is not None and _compare(value, "eq", wanted, is_time)
    return isinstance(value, bool) is isinstance(wanted, bool) and value is not NOTHING and value == wanted


def _compare(value: Any, name: str, wanted: Any, is_time: bool) -> bool:
    first, last = period(wanted, is_time) or (wanted, wanted)
    if isinstance(first, datetime):
        value = period(value, False)
        if value is None:
            return False
        value = value[0]
    elif isinstance(value, bool) or not isinstance(value, str if isinstance(first, str) else int | float):
        return False
    return {
        "eq": first <= value <= last,
        "gt": value > last,
        "gte": value >= first,
        "lt": value < first,
        "lte": value <= last,
    }[name]


def period(value: Any, is_time: bool) -> tuple[datetime, datetime] | None:
    """The first and the last moment of a time or a day; None for what is neither."""
    if is_time and isinstance(value, int | float):
        value = datetime.fromtimestamp(value / (1_000 if value >= 1e11 else 1), UTC)
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if value[4:5] == "-" else None
        except ValueError:
            value = datetime.fromisoformat(value) if value[10:11] in ("T", " ") and value[13:14] == ":" else None
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        return value, value
    if isinstance(value, date):
        first = datetime(value.year, value.month, value.day, tzinfo=UTC)
        return first, first + timedelta(days=1, microseconds=-1)
    return None
