"""--filter of the commands that read memories: conditions as a person types them, or the library's filter as JSON."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import click

from emendo_client.requests.filtering.grammar import read
from emendo_client.requests.filtering.nodes import ID_FIELDS, METADATA, TIME_FIELDS, pins_scope

# Longer operators first, or `>=` would be `>` and a value that begins with `=`.
_CONDITION = re.compile(r"\s*(?P<field>[^=<>!]+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*)", re.DOTALL)
_OPERATORS = {"=": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_FOR_A_LIST = {"=": "in", "!=": "nin"}
_EXAMPLE = "'metadata.price<=12'"


def names_a_scope(filters: dict[str, Any] | None) -> bool:
    """True if the filter says whose memories are meant.

    Raises:
        ValidationError: it cannot be read.
    """
    node = None if filters is None else read(filters)
    return node is not None and pins_scope(node)


def _as_mapping(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, Any] | None:
    """The filter as the library takes it; None without the option.

    Each operator is named in it, since a bare `"*"` means any value in AND.
    """
    if not given:
        return None
    if any(each.lstrip().startswith("{") for each in given):
        if len(given) > 1:
            raise click.BadParameter("a filter in JSON stands alone: put all conditions into it")
        return _object(given[0])
    conditions = [_condition(each) for each in given]
    return conditions[0] if len(conditions) == 1 else {"AND": conditions}


def _object(text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)  # it begins like an object
    except ValueError:
        raise click.BadParameter("it begins with { and is not JSON") from None
    return document


def _condition(text: str) -> dict[str, Any]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no condition such as {_EXAMPLE}, and no JSON object")
    field, operator = found["field"], found["operator"]
    if field not in (*ID_FIELDS, *TIME_FIELDS) and not field.startswith(f"{METADATA}."):
        fields = ", ".join((*ID_FIELDS, *TIME_FIELDS))
        raise click.BadParameter(f"{field!r} is none of {fields}; for a key of the metadata: {METADATA}.{field}")
    value = _value(field, found["value"])
    if isinstance(value, list) and operator in _FOR_A_LIST:
        return {field: {_FOR_A_LIST[operator]: value}}
    return {field: {_OPERATORS[operator]: value}}


def _value(field: str, text: str) -> Any:
    """The value that JSON has for the text, else the text itself. An id such as 7 or null is a text, too."""
    try:
        value = json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text
    return text if field in ID_FIELDS and not isinstance(value, str | list) else value


def _no_json(_: str) -> NoReturn:
    """NaN and Infinity, which JSON does not have."""
    raise ValueError


filter_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    callback=_as_mapping,
    metavar="CONDITION",
    help=f"Only these; several must all hold: {_EXAMPLE}, 'created_at>=2026-01-01', 'metadata.topic!=food', "
    "with =, !=, <, <=, > or >=. Or one filter in JSON, as the library takes it: "
    """'{"NOT": {"metadata": {"topic": ["food", "art"]}}}'.""",
)
