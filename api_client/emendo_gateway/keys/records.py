"""The records of API keys in the control Redis, as exchanges for the gateway and for `emendo keys`.

Each change sets fields of one hash, so it may be sent twice. A record that nobody can use any more goes 30 days later.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from emendo_client.errors import NotFoundError, ValidationError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.requests import validation
from emendo_config import Keys
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_config.store.clock import seconds_of
from emendo_config.store.pipeline import Command, as_text
from emendo_gateway.keys.api_key import SCOPES, ApiKey, digest, is_key_id, new_key

_KEPT = 30 * 86_400  # seconds that a key which expired or was revoked is still listed
_FIELDS = tuple(field.name for field in dataclasses.fields(ApiKey))
_NUMBERS = frozenset({"created", "expires", "revoked", "last_used"})
_LISTED_AT_A_TIME = 500


def create(
    keys: Keys,
    *,
    project: str,
    scope: str,
    expires_in: float | None = None,
    user_id: str | None = None,
    name: str | None = None,
    rate: int | None = None,
) -> Exchange[tuple[str, ApiKey]]:
    """Makes a key; its text, which is stored nowhere, and its record.

    Args:
        expires_in: seconds; None for never.

    Raises:
        ValidationError
    """
    checked_project = validation.scope_id(project, "project")
    if not checked_project:
        raise ValidationError("project is missing", suggestion="name the project that the key is for")
    now = yield from _now()
    text, given = new_key()
    record = ApiKey(
        id=given.id,
        digest=digest(given.secret),
        project=checked_project,
        scope=validation.one_of(scope, "scope", SCOPES),
        user_id=validation.scope_id(user_id, "user") or "",
        name=validation.scope_id(name, "name") or "",
        rate=rate,
        created=now,
        expires=0.0 if expires_in is None else now + expires_in,
    )
    yield RoundTrip("control", _writes(keys, record))
    return text, record


def find(keys: Keys, key_id: str) -> Exchange[tuple[ApiKey | None, float]]:
    """The record of a key, None if there is none, and the time of Redis."""
    found, time = yield RoundTrip("control", [_read(keys, key_id), ("TIME",)])
    return _record(key_id, found), seconds_of(time)


def get(keys: Keys, key_id: str) -> Exchange[tuple[ApiKey, float]]:
    """The record of a key, and the time of Redis.

    Raises:
        ValidationError: the id is malformed; a whole key in its place is not repeated.
        NotFoundError: there is no such key.
    """
    if not is_key_id(key_id):
        raise ValidationError(
            "key id is malformed", suggestion="give the middle part of em_<id>_<secret>: 16 characters"
        )
    record, now = yield from find(keys, key_id)
    if record is None:
        raise NotFoundError(
            f"there is no key {key_id}",
            error_code=ErrorCode.KEY_NOT_FOUND,
            suggestion="emendo keys list shows all of them",
        )
    return record, now


def find_all(keys: Keys, project: str | None = None) -> Exchange[tuple[list[ApiKey], float]]:
    """All keys, or a project's, newest first, and the time of Redis."""
    ids, time = yield RoundTrip("control", [("ZREVRANGE", keys.gateway_keys, 0, -1), ("TIME",)])
    found: list[ApiKey] = []
    gone: list[str] = []
    for first in range(0, len(ids), _LISTED_AT_A_TIME):
        part = [as_text(each) for each in ids[first : first + _LISTED_AT_A_TIME]]
        replies = yield RoundTrip("control", [_read(keys, each) for each in part])
        for key_id, reply in zip(part, replies, strict=True):
            record = _record(key_id, reply)
            if record is None:
                gone.append(key_id)
            elif project is None or record.project == project:
                found.append(record)
    if gone:
        yield RoundTrip("control", [("ZREM", keys.gateway_keys, *gone)])
    return found, seconds_of(time)


def revoke(keys: Keys, key_id: str) -> Exchange[ApiKey]:
    """Ends a key. Gateways that have just checked it notice within 5 seconds.

    Raises:
        ValidationError, NotFoundError: see `get`.
    """
    record, now = yield from get(keys, key_id)
    if not record.revoked:
        record = dataclasses.replace(record, revoked=now)
        yield RoundTrip("control", _changes(keys, record, "revoked"))
    return record


def rotate(keys: Keys, key_id: str, *, grace: float) -> Exchange[tuple[str, ApiKey]]:
    """Makes a key that may do the same; the old one ends after the grace period.

    Args:
        grace: seconds.

    Raises:
        ValidationError: see `get`; or the key is not valid any more.
        NotFoundError: see `get`.
    """
    old, now = yield from get(keys, key_id)
    if not old.is_valid(now):
        raise ValidationError(f"the key is {old.state(now)}", suggestion="make a new one with emendo keys create")
    text, given = new_key()
    lasts = old.expires - old.created if old.expires else 0.0
    fresh = dataclasses.replace(
        old,
        id=given.id,
        digest=digest(given.secret),
        created=now,
        expires=now + lasts if lasts else 0.0,
        last_used=0.0,
    )
    yield RoundTrip("control", _writes(keys, fresh))
    ends = now + grace
    ended = dataclasses.replace(old, expires=min(old.expires or ends, ends))
    yield RoundTrip("control", _changes(keys, ended, "expires"))
    return text, fresh


def touch(keys: Keys, record: ApiKey, now: float) -> Exchange[None]:
    """Notes that a key was used, unless its record has expired meanwhile."""
    yield RoundTrip("control", [_note(keys, record, "last_used", now)])


def _now() -> Exchange[float]:
    (time,) = yield RoundTrip("control", [("TIME",)])
    return seconds_of(time)


def _read(keys: Keys, key_id: str) -> Command:
    return ("HMGET", keys.gateway_key(key_id), *_FIELDS)


def _writes(keys: Keys, record: ApiKey) -> list[Command]:
    values = {name: value for name, value in dataclasses.asdict(record).items() if value not in (None, "")}
    pairs = [part for pair in values.items() for part in pair]
    return [
        ("ZADD", keys.gateway_keys, record.created, record.id),
        ("HSET", keys.gateway_key(record.id), *pairs),
        *_end(keys, record),
    ]


def _changes(keys: Keys, record: ApiKey, field: str) -> list[Command]:
    # A script that also runs in a full Redis: a key must be revoked there, too.
    return [_note(keys, record, field, getattr(record, field)), *_end(keys, record)]


def _note(keys: Keys, record: ApiKey, field: str, value: float) -> Command:
    return scripts.note(hash=keys.gateway_key(record.id), must_exist=True, fields=[field, value])


def _end(keys: Keys, record: ApiKey) -> list[Command]:
    ends = min((each for each in (record.revoked, record.expires) if each), default=0.0)
    return [("EXPIREAT", keys.gateway_key(record.id), int(ends) + _KEPT)] if ends else []


def _record(key_id: str, values: list[Any]) -> ApiKey | None:
    """The record from the values of _FIELDS; None for one that is absent or damaged: such a key opens nothing."""
    fields = {name: as_text(value) for name, value in zip(_FIELDS, values, strict=True) if value is not None}
    if fields.get("id") != key_id or not fields.get("digest") or not fields.get("project"):
        return None
    if fields.get("scope") not in SCOPES:
        return None
    try:
        numbers = {name: float(fields.pop(name)) for name in _NUMBERS & fields.keys()}
        rate = int(fields.pop("rate")) if "rate" in fields else None
    except ValueError:
        return None
    return ApiKey(**fields, **numbers, rate=rate)  # type: ignore[arg-type]
