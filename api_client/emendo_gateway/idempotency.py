"""The `Idempotency-Key` of a request, quoted or bare."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import WithJsonSchema

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_gateway.callers import caller_of

# The usual keys of both forms, for the documentation.
_KEY_FORM = r'^("[\x23-\x5b\x5d-\x7e]{1,256}"|[\x23-\x5b\x5d-\x7e]{1,256})$'
_BARE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')


def as_text(pattern: str | None = None, **more: Any) -> WithJsonSchema:
    """How a field that is read as a list, to find repeated ones, is documented: as the text that it is."""
    return WithJsonSchema({"type": "string", **({"pattern": pattern} if pattern else {}), **more})


def once(values: Sequence[str] | None, name: str) -> str | None:
    """The value of a field; None if the request has none.

    Raises:
        ValidationError: there are several.
    """
    if not values:
        return None
    if len(values) > 1:
        raise ValidationError(f"the request has {name} more than once", suggestion="send the field once")
    return values[0].strip()


def read_key(values: Sequence[str] | None) -> str | None:
    """The key that the fields hold; None without them.

    Raises:
        ValidationError: it is malformed or empty, or there are several.
    """
    given = once(values, "Idempotency-Key")
    if given is None:
        return None
    quoted = _QUOTED.fullmatch(given)
    if quoted:
        given = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _BARE.fullmatch(given):
        raise ValidationError(
            "Idempotency-Key is malformed", suggestion='send up to 256 printable characters, such as "8e03978e-40d5"'
        )
    if not given:
        raise ValidationError("Idempotency-Key is empty", suggestion="send a key, or leave the field out")
    return given


async def _key(
    request: Request,
    idempotency_key: Annotated[
        list[str] | None,
        as_text(_KEY_FORM),
        Header(
            description="The same key with the same request gives the same job, until the key expires. "
            "It does so after `EMENDO_JOB_TTL` seconds: one day, unless set otherwise. Quoted or bare.",
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> str | None:
    given = read_key(idempotency_key)
    user_id = caller_of(request.scope).user_id
    return given if given is None or user_id is None else _of_user(user_id, given)


def _of_user(user_id: str, key: str) -> str:
    """The key as it is told to the client, for a caller that is bound to a user.

    The users of a project have keys of their own. Otherwise one user could take another one's key first, or learn the
    id of the job behind it.
    """
    validation.opaque_key(key, "idempotency_key")
    return f"user-{hashlib.sha256(f'{len(user_id)}:{user_id}:{key}'.encode()).hexdigest()}"


IdempotencyKey = Annotated[str | None, Depends(_key)]
