"""The memories that meet a filter which the index cannot decide alone: a pass over all that it admits."""

from __future__ import annotations

from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.records.memories import admitted_id
from emendo_client.requests.filters import Filter
from emendo_config import Keys
from emendo_config.error_codes import ErrorCode

# Memories that one read looks at, at most: about a second of one core.
MAX_CANDIDATES = 200_000
_PAGE = 1_000


def narrowed(keys: Keys, wanted: Filter, query: str) -> Exchange[Filter]:
    """The filter as an exact one: limited to the memories that meet it now. An exact filter stays as it is.

    Args:
        keys: key names.
        wanted: the filter.
        query: its expression, for live memories or for all.

    Raises:
        ValidationError: (FILTER_TOO_BROAD) more than MAX_CANDIDATES memories would have to be looked at.
    """
    if wanted.residual is None:
        return wanted
    fields = ["id", *wanted.residual_fields]
    limits = wanted.time_limits
    command: tuple[Any, ...] = (
        *("FT.AGGREGATE", keys.index_alias, query),
        *("PARAMS", len(wanted.parameters), *wanted.parameters),
        *("LOAD", len(fields), *(f"@{name}" for name in fields)),
        *(("FILTER", " && ".join(limits)) if limits else ()),
        *("WITHCURSOR", "COUNT", _PAGE, "TIMEOUT", 0, "DIALECT", 2),  # by default a page ends after half a second
    )
    looked_at, found = 0, []
    while True:
        ((rows, cursor),) = yield RoundTrip("data", [command])
        looked_at += len(rows) - 1
        for row in rows[1:]:
            admitted = admitted_id(row, wanted.admits)
            if admitted is not None:
                found.append(keys.memory(admitted))
        if not cursor:
            return wanted.limited_to(found)
        if looked_at >= MAX_CANDIDATES:
            yield RoundTrip("data", [("FT.CURSOR", "DEL", keys.index_alias, cursor)])
            raise ValidationError(
                f"filters leaves more than {MAX_CANDIDATES:,} memories to look at one by one",
                error_code=ErrorCode.FILTER_TOO_BROAD,
                suggestion="add a user_id, agent_id or run_id, or a condition with eq, in or exists",
            )
        command = ("FT.CURSOR", "READ", keys.index_alias, cursor, "COUNT", _PAGE)
