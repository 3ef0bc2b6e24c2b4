"""Messages of the broker as the worker takes them: small, and of Emendo's own form.

A program that can write to the broker can put anything into a queue. Celery and kombu expect messages of their own. A
value of another type ends the worker. So a message is rebuilt from the few fields that Emendo's own messages have.
A message without them is dropped. A drain message is no job, and the sweeper sends another.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from emendo_config.celery_app import DRAIN_TASK, HOUSEKEEPING_TASK
from emendo_config.json_codec import compact_json, read_json
from emendo_config.shards import is_shard

# The longest message of Emendo's own has about 1,500 bytes. A command of remote control may name many tasks.
MAX_MESSAGE_BYTES = 1_000_000
_MAX_TASK_BYTES = 16_384
_MAX_NAME_CHARS = 256
_CONTENT_TYPE = "application/json"
_ENCODINGS = ("utf-8", "UTF-8")
_BODY_ENCODINGS = (None, "", "base64")
# Headers that ask Celery for more than the task; no message of Emendo has them.
_FURTHER_HEADERS = ("eta", "group", "chord", "callbacks", "errbacks", "chain", "compression", "stamped_headers")
_NO_MORE_WORK = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_MAX_PRIORITY = 9


class MalformedMessageError(Exception):
    """A message that is none of Emendo's; its text says why in fixed words, without anything of the message."""


def read_message(raw: Any) -> Any:
    """The JSON of what the broker has; None when it is none, or too large or deep."""
    if not isinstance(raw, str | bytes) or len(raw) > MAX_MESSAGE_BYTES:
        return None
    try:
        return read_json(raw)
    except ValueError:
        return None


def checked_envelope(document: Any) -> dict[str, Any]:
    """A message of a Redis broker, as kombu keeps it, rebuilt from the fields that kombu needs.

    Raises:
        MalformedMessageError: kombu could not read it.
    """
    if not isinstance(document, dict):
        raise MalformedMessageError("it is no JSON object, or too large or deep")
    properties, headers = document.get("properties"), document.get("headers")
    if not isinstance(properties, dict) or not isinstance(headers, dict):
        raise MalformedMessageError("it lacks its properties or headers")
    info = properties.get("delivery_info")
    info = info if isinstance(info, dict) else {}
    encoding = properties.get("body_encoding")
    body, priority = document.get("body"), properties.get("priority")
    if encoding not in _BODY_ENCODINGS or not isinstance(body, str) or not _is_base64(body, encoding):
        raise MalformedMessageError("its body is not encoded as Celery does it")
    if headers.get("compression"):
        raise MalformedMessageError("it is compressed")
    return {
        "body": body,
        "content-type": _name(document.get("content-type"), "content type"),
        "content-encoding": _name(document.get("content-encoding"), "content encoding"),
        "headers": headers,
        "properties": {
            "delivery_tag": _name(properties.get("delivery_tag"), "delivery tag"),
            "delivery_info": {key: _text(info.get(key)) for key in ("exchange", "routing_key")},
            "priority": priority if type(priority) is int and 0 <= priority <= _MAX_PRIORITY else 0,
            "body_encoding": encoding,
        },
    }


def make_safe(message: Any) -> None:
    """Replaces what a message asks for by the task, its argument and its expiry alone.

    Args:
        message: a message of any of kombu's transports, not decoded.

    Raises:
        MalformedMessageError: it asks for something else, or cannot be read.
    """
    headers = message.headers
    if not isinstance(headers, Mapping):
        raise MalformedMessageError("it lacks its headers")
    if message.content_type != _CONTENT_TYPE or message.content_encoding not in _ENCODINGS:
        raise MalformedMessageError("its body is no JSON")
    task = headers.get("task")
    if task not in (DRAIN_TASK, HOUSEKEEPING_TASK):
        raise MalformedMessageError("it names no task of Emendo")
    if any(headers.get(name) for name in _FURTHER_HEADERS):
        raise MalformedMessageError("it asks for more than a task")
    args = _arguments(task, message.body)
    task_id = _name(headers.get("id"), "id")
    message.headers = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": _expiry(headers.get("expires")),
        "retries": 0,
        "timelimit": [None, None],  # the settings decide; workers send theirs along
        "argsrepr": repr(tuple(args)),
        "kwargsrepr": "{}",
        "ignore_result": True,
    }
    message.body = compact_json([args, {}, _NO_MORE_WORK])
    message.properties = {"correlation_id": task_id}


def _arguments(task: str, body: Any) -> list[str]:
    if not isinstance(body, str | bytes) or len(body) > _MAX_TASK_BYTES:
        raise MalformedMessageError("its body is no JSON, or too large")
    try:
        document = read_json(body)
    except ValueError:
        document = None
    match document:
        case [[*args], {**kwargs}, None | {} as more] if not kwargs and not any((more or {}).values()):
            pass
        case _:
            raise MalformedMessageError("its body is none of a task's")
    if task == HOUSEKEEPING_TASK and not args:
        return []
    if task == DRAIN_TASK and len(args) == 1 and isinstance(args[0], str) and is_shard(args[0]):
        return [args[0]]
    raise MalformedMessageError("its arguments are not the task's")


def _expiry(value: Any) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MalformedMessageError("its expiry is no time")
    return moment.isoformat()


def _is_base64(body: str, encoding: str | None) -> bool:
    try:
        return not encoding or base64.b64decode(body) is not None
    except ValueError:
        return False


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME_CHARS or not value.isprintable():
        raise MalformedMessageError(f"it has no {name}, or a damaged one")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_NAME_CHARS and value.isprintable() else ""
