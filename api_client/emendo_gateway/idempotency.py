"""The `Idempotency-Key` of a request, quoted or bare."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_gateway.callers import Caller

_BARE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')


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


def idempotency_key(values: Sequence[str] | None, caller: Caller) -> str | None:
    """The key that the fields hold, as it is told to the client; None without them.

    The users of a project have keys of their own, when their API keys are bound to them. Otherwise one user could take
    another one's key first, or learn the id of the job behind it.

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
    if caller.user_id is None:
        return given
    validation.opaque_key(given, "idempotency_key")
    whose = f"{len(caller.user_id)}:{caller.user_id}:{given}"
    return f"user-{hashlib.sha256(whose.encode()).hexdigest()}"
