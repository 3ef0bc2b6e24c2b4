"""`ETag`, `If-Match` and `If-None-Match`: a memory's version is its tag.

A change with `If-Match` is checked twice. A version that is stale already is refused at once with 412. One that becomes
stale before a worker gets to it is refused by the worker: the job fails with VERSION_MISMATCH.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal

from fastapi import Depends, Header

from emendo_client.errors import ConflictError, MemoryNotFoundError, ValidationError
from emendo_client.models import Memory
from emendo_config.error_codes import ErrorCode
from emendo_gateway.idempotency import as_text
from emendo_gateway.service import Service

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# The same for the documentation: one tag, or any.
_TAG_FORM = r'^(\*|(W/)?"[\x23-\x7e]*")$'
_MOST_TAGS = 100
_LONGEST_NUMBER = 18  # digits
Condition = Literal["*"] | frozenset[str] | None


def etag(memory: Memory) -> str:
    """The tag of a memory's version."""
    return f'"{memory.version}"'


def _tags(values: Sequence[str] | None, name: str, *, weak: bool) -> Condition:
    """The tags of a field; weak ones only if they may match."""
    if not values:
        return None
    parts = [part.strip() for value in values for part in value.split(",")]
    if parts == ["*"]:
        return "*"
    found = [_TAG.fullmatch(part) for part in parts[: _MOST_TAGS + 1]]
    if len(found) > _MOST_TAGS or not all(found):
        raise ValidationError(f"{name} is malformed", suggestion='send the ETag of the memory, such as "3", or *')
    return frozenset(match[2] for match in found if match and (weak or not match[1]))


async def _if_match(
    if_match: Annotated[
        list[str] | None,
        as_text(_TAG_FORM),
        Header(description='The ETag that the change is based on, such as `"3"`.', examples=['"3"']),
    ] = None,
) -> Condition:
    return _tags(if_match, "If-Match", weak=False)


async def _if_none_match(
    if_none_match: Annotated[
        list[str] | None,
        as_text(_TAG_FORM),
        Header(description="ETags that the caller has, or `*`.", examples=['"3"']),
    ] = None,
) -> Condition:
    return _tags(if_none_match, "If-None-Match", weak=True)


IfMatch = Annotated[Condition, Depends(_if_match)]
IfNoneMatch = Annotated[Condition, Depends(_if_none_match)]


def is_known(memory: Memory, if_none_match: Condition) -> bool:
    """True when the caller has the memory's version already."""
    return if_none_match == "*" or (if_none_match is not None and str(memory.version) in if_none_match)


async def expected_version(
    read: Callable[[], Awaitable[Memory]], if_match: Condition, *, is_repeat: bool = False
) -> int | None:
    """The version that a change with `If-Match` is based on; None without the field, and for `*`.

    Args:
        read: reads the memory as it is now.
        is_repeat: the request was accepted before, under the same idempotency key. It is not checked again: its own
            effect may have made the version stale.

    Raises:
        ConflictError: (VERSION_MISMATCH) the memory has another version already, or is not there.
    """
    if if_match is None:
        return None
    if is_repeat:
        numbers = [int(tag) for tag in if_match if tag.isdecimal() and len(tag) < _LONGEST_NUMBER]
        return max(numbers, default=None)
    try:
        memory = await read()
    except MemoryNotFoundError:
        raise _mismatch(None) from None
    if if_match == "*":
        return None
    if str(memory.version) not in if_match:
        raise _mismatch(memory.version)
    return memory.version


async def base_of_write(
    calls: Service, key: str | None, if_match: Condition, read: Callable[[], Awaitable[Memory]]
) -> int | None:
    """The version that a request is based on, which may repeat an earlier one; see `expected_version`.

    Args:
        key: the request's idempotency key.
    """
    is_repeat = if_match is not None and await calls.has_begun(key)
    return await expected_version(read, if_match, is_repeat=is_repeat)


def must_not_exist() -> ConflictError:
    """The error for `If-None-Match: *` on a memory that exists."""
    return ConflictError(
        "the memory exists, and the request is for one that does not",
        error_code=ErrorCode.VERSION_MISMATCH,
        suggestion="leave If-None-Match out to change it",
    )


def _mismatch(current: int | None) -> ConflictError:
    return ConflictError(
        "the memory does not have the version of If-Match",
        error_code=ErrorCode.VERSION_MISMATCH,
        details={"current_version": current},
        suggestion="read it again and decide whether the change is still wanted",
    )
