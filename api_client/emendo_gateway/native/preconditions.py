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

_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
# A list may have empty places, and a tag may have a comma.
_PLACE = re.compile(rf"[ \t]*+(?:{_TAG}[ \t]*+)?(?:,|$)")
# The same for the documentation: one tag, or any.
_TAG_FORM = r'^(\*|(W/)?"[\x23-\x7e]*")$'
_MOST_TAGS = 100
_VERSION = re.compile(r"[1-9][0-9]{0,16}")
Condition = Literal["*"] | frozenset[str] | None


def etag(memory: Memory) -> str:
    """The tag of a memory's version."""
    return f'"{memory.version}"'


def _tags(values: Sequence[str] | None, name: str, *, weak: bool) -> Condition:
    """The tags of a field; weak ones only if they may match."""
    if not values:
        return None
    text = ",".join(values)
    if text.strip() == "*":
        return "*"
    found: list[re.Match[str]] = []
    end = 0
    while end < len(text) and len(found) <= _MOST_TAGS:
        place = _PLACE.match(text, end)
        if place is None:
            break
        end = place.end()
        if place[2] is not None:
            found.append(place)
    if end < len(text) or not 1 <= len(found) <= _MOST_TAGS:
        raise ValidationError(f"{name} is malformed", suggestion='send the ETag of the memory, such as "3", or *')
    return frozenset(tag[2] for tag in found if weak or not tag[1])


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
        return next(iter(_versions(if_match)), None)
    try:
        memory = await read()
    except MemoryNotFoundError:
        raise _mismatch(if_match, None) from None
    if if_match == "*":
        return None
    if str(memory.version) not in if_match:
        raise _mismatch(if_match, memory.version)
    return memory.version


async def base_of_write(
    calls: Service, key: str | None, if_match: Condition, read: Callable[[], Awaitable[Memory]]
) -> int | None:
    """The version that a request is based on, which may repeat an earlier one; see `expected_version`.

    Args:
        key: the request's idempotency key.

    Raises:
        ValidationError: see `require_one_base`.
        ConflictError: see `expected_version`.
    """
    if key is not None:
        require_one_base(if_match)
    is_repeat = if_match is not None and await calls.has_begun(key)
    return await expected_version(read, if_match, is_repeat=is_repeat)


def require_one_base(if_match: Condition) -> None:
    """Refuses several versions in `If-Match` of a request that may be repeated.

    The first attempt would be based on the one that was current. A repeat could not tell which that was, and would be
    taken for another request.

    Raises:
        ValidationError
    """
    if len(_versions(if_match)) > 1:
        raise ValidationError(
            "If-Match has several versions beside Idempotency-Key",
            suggestion="send the one version that the change is based on",
        )


def _versions(if_match: Condition) -> list[int]:
    """The tags that a memory's version can have, as numbers."""
    return [int(tag) for tag in if_match or () if _VERSION.fullmatch(tag)]


def must_not_exist() -> ConflictError:
    """The error for `If-None-Match: *` on a memory that exists."""
    return ConflictError(
        "the memory exists, and the request is for one that does not",
        error_code=ErrorCode.VERSION_MISMATCH,
        suggestion="leave If-None-Match out to change it",
    )


def _mismatch(if_match: Condition, current: int | None) -> ConflictError:
    expected = _versions(if_match)
    return ConflictError(
        "the memory does not have the version of If-Match",
        error_code=ErrorCode.VERSION_MISMATCH,
        details={"expected_version": expected[0] if len(expected) == 1 else None, "current_version": current},
        suggestion="read it again and decide whether the change is still wanted",
    )
