"""Cursors: opaque texts that name a place in a listing. A cursor of another listing, or a damaged one, is refused.

A cursor holds no secret and gives no access: every read adds the project's own filter.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_config.json_codec import compact_json, read_json

_MARK_BYTES = 6
# Longer than any cursor: an order's value and an id of 256 characters.
_MAX_CHARS = 4_096


def write_cursor(listing: Sequence[Any], position: Sequence[str]) -> str:
    """The cursor of a place.

    Args:
        listing: all that makes the listing: project, conditions, order.
        position: the texts that name the last entry read.
    """
    body = _mark(repr(listing)) + compact_json(list(position)).encode()
    return base64.urlsafe_b64encode(_mark(body.hex()) + body).decode().rstrip("=")


def read_cursor(cursor: Any, listing: Sequence[Any], parts: int) -> list[str]:
    """The place that a cursor names.

    Args:
        cursor: as a caller gives it.
        listing: as it was for `write_cursor`.
        parts: how many texts name a place.

    Raises:
        ValidationError: it is no cursor, or that of another listing.
    """
    if not isinstance(cursor, str):
        raise validation.wrong_type("cursor", cursor, "the next_cursor of a page")
    body = _body(cursor)
    position = _position(body[_MARK_BYTES:], parts)
    if body[:_MARK_BYTES] != _mark(repr(listing)):
        raise ValidationError(
            "cursor belongs to another listing",
            suggestion="give the same project, scope, filters and order as for the page that it comes from",
        )
    return position


def _body(cursor: str) -> bytes:
    if len(cursor) <= _MAX_CHARS and cursor.isascii():
        try:
            whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise _malformed() from None
        mark, body = whole[:_MARK_BYTES], whole[_MARK_BYTES:]
        if mark == _mark(body.hex()):
            return body
    raise _malformed()


def _position(text: bytes, parts: int) -> list[str]:
    try:
        position = read_json(text)
    except ValueError:
        raise _malformed() from None
    if not isinstance(position, list) or len(position) != parts or not all(isinstance(part, str) for part in position):
        raise _malformed()
    return position


def _mark(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:_MARK_BYTES]


def _malformed() -> ValidationError:
    return ValidationError(
        "cursor is malformed", suggestion="use the next_cursor of a page, whole; None begins at the first page"
    )
