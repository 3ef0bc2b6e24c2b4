"""Attacks through the broker: values for a queue, and messages for the control channel."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

# Never to be seen in a log.
SECRET = "zz-top-secret-zz"
_DEEP = "[" * 50_000


def task_message(
    args: Any = ("1",), *, body: Any = None, encoding: Any = "base64", headers: Any = None, **fields: Any
) -> dict[str, Any]:
    """A message as Celery puts it on a Redis list; `fields` replace its outer fields, None removes one."""
    whole = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    raw = (whole if body is None else body if isinstance(body, str) else json.dumps(body)).encode()
    message = {
        "body": base64.b64encode(raw).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "emendo.drain", "id": str(uuid.uuid4()), "timelimit": [None, None]},
        "properties": {
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": encoding,
            "delivery_info": {"exchange": "", "routing_key": "interactive"},
            "delivery_mode": 2,
            "priority": 0,
        },
    }
    if isinstance(headers, dict):
        message["headers"] |= headers
    message |= fields
    return {name: value for name, value in message.items() if value is not None}


def _headers(**changed: Any) -> str:
    return json.dumps(task_message(headers={"note": SECRET, **changed}))


def _properties(**changed: Any) -> str:
    message = task_message(headers={"note": SECRET})
    message["properties"] |= changed
    return json.dumps(message)


_LINK = {"task": "emendo.housekeeping", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

# By what is wrong with them; each would be in a queue's list.
QUEUE_VALUES: dict[str, str | bytes] = {
    "no JSON": f"{{{SECRET}",
    "empty": "",
    "a list": f'["{SECRET}"]',
    "a number": "7",
    "null": "null",
    "a text": f'"{SECRET}"',
    "not UTF-8": b"\xff\xfe" + SECRET.encode(),
    "UTF-16": json.dumps(task_message()).encode("utf-16"),
    "deep": _DEEP,
    "deep headers": json.dumps(task_message(headers={"x": 1})).replace('"x": 1', '"x": ' + '{"a":' * 5_000),
    "a value with a type": json.dumps({"__type__": "decimal", "__value__": SECRET}),
    "no properties": json.dumps(task_message(properties=None)),
    "properties of another type": json.dumps(task_message(properties=[SECRET])),
    "no headers": json.dumps(task_message(headers=None) | {"headers": None}),
    "headers of another type": json.dumps(task_message() | {"headers": SECRET}),
    "no body": json.dumps(task_message() | {"body": None}),
    "a body of another type": json.dumps(task_message() | {"body": {"x": SECRET}}),
    "no delivery tag": _properties(delivery_tag=None),
    "a delivery tag of another type": _properties(delivery_tag={"x": SECRET}),
    "a huge delivery tag": _properties(delivery_tag="x" * 100_000),
    "a huge priority": _properties(priority=1).replace('"priority": 1', '"priority": 1e999'),
    "delivery information of another type": _properties(delivery_info=SECRET),
    "another encoding of the body": _properties(body_encoding="rot13"),
    "no base64": json.dumps(task_message() | {"body": f"{SECRET}$"}),
    "pickle": json.dumps(task_message() | {"content-type": "application/x-python-serialize"}),
    "yaml": json.dumps(task_message() | {"content-type": "application/x-yaml"}),
    "data": json.dumps(task_message() | {"content-type": "application/data"}),
    "no content type": json.dumps(task_message() | {"content-type": None}),
    "utf-16 as content encoding": json.dumps(task_message() | {"content-encoding": "utf-16"}),
    "compressed": _headers(compression="application/x-gzip"),
    "an unknown task": _headers(task=f"os.system {SECRET}"),
    "a task of Celery": _headers(task="celery.map"),
    "a task of another type": _headers(task=[SECRET]),
    "no task": _headers(task=None),
    "no id": _headers(id=None),
    "an id of another type": _headers(id={"x": SECRET}),
    "a huge id": _headers(id="x" * 100_000),
    "eta": _headers(eta=SECRET),
    "an eta far away": _headers(eta="9999-01-01T00:00:00+00:00"),
    "expires": _headers(expires=SECRET),
    "expires of another type": _headers(expires=1e300),
    "a huge message": json.dumps(task_message(headers={"note": SECRET, "more": "x" * 1_000_000})),
    "a long body": json.dumps(task_message(body=json.dumps([["1"], {}, _EMBED]) + " " * 20_000)),
    "an expiry in no time zone": _headers(expires="2030-01-01T00:00:00"),
    "an expiry at the end of time": _headers(expires="9999-12-31T23:59:59-23:59"),
    "time limit": _headers(timelimit=SECRET),
    "time limits": _headers(timelimit=[1e-9, -1]),
    "group": _headers(group=SECRET),
    "chord": _headers(chord=_LINK),
    "stamps": _headers(stamped_headers=[SECRET]),
    "body: a number": json.dumps(task_message(body=5)),
    "body: no JSON": json.dumps(task_message(body=f"{{{SECRET}")),
    "body: deep": json.dumps(task_message(body=_DEEP)),
    "body: no arguments": json.dumps(task_message([])),
    "body: too many arguments": json.dumps(task_message(["1", SECRET])),
    "body: named arguments": json.dumps(task_message(body=[["1"], {"shard": SECRET}, _EMBED])),
    "body: an argument of another type": json.dumps(task_message([{"x": SECRET}])),
    "body: callbacks": json.dumps(task_message(body=[["1"], {}, {**_EMBED, "callbacks": [_LINK]}])),
    "body: chain": json.dumps(task_message(body=[["1"], {}, {**_EMBED, "chain": [_LINK]}])),
    "body: chord": json.dumps(task_message(body=[["1"], {}, {**_EMBED, "chord": _LINK}])),
    "no shard": json.dumps(task_message([SECRET])),
    "a negative shard": json.dumps(task_message(["-1"])),
    "an unknown shard": json.dumps(task_message(["77777"])),
    "a shard of no queue": json.dumps(task_message(["secrets-1"])),
    "a huge shard": json.dumps(task_message(["9" * 10_000])),
}


def control_message(body: Any, **headers: Any) -> str:
    """A message as `celery control` publishes it."""
    return json.dumps(
        {**task_message(body=body if isinstance(body, str) else json.dumps(body)), "headers": {"clock": 1, **headers}}
    )


def _command(method: Any = "ping", **more: Any) -> str:
    return control_message({"method": method, "arguments": {}, "note": SECRET, **more})


_SLOW_PATTERN = "(a|a?)+$" * 3
# For the control channel; the values of QUEUE_VALUES are none of its messages either.
CONTROL_VALUES: dict[str, str | bytes] = {
    "a number": control_message(5),
    "null": control_message("null"),
    "a list": control_message([SECRET]),
    "no JSON": control_message(f"{{{SECRET}"),
    "deep": control_message(_DEEP),
    "no method": _command(method=None),
    "an unknown method": _command(method=SECRET),
    "a method of another type": _command(method=[SECRET]),
    "arguments of another type": _command(arguments=SECRET),
    "unknown arguments": _command(arguments={SECRET: 1}),
    "the argument state": _command(arguments={"state": 1}),
    "a destination of another type": _command(destination=5),
    "a text as destination": _command(destination=SECRET),
    "a destination of other types": _command(destination=[5, None, {}]),
    "a slow pattern": _command(pattern=_SLOW_PATTERN, matcher="pcre"),
    "an unknown matcher": _command(pattern="*", matcher=SECRET),
    "a ticket of another type": _command(ticket={"x": SECRET}),
    "an answer to nobody": _command(reply_to=SECRET),
    "an answer into a queue": _command(reply_to={"exchange": "interactive", "routing_key": "interactive"}),
    "a clock of another type": control_message({"method": "ping"}, clock=SECRET),
    "a huge clock": control_message({"method": "ping"}, clock=10**4_000),
    "expires": control_message({"method": "ping"}, expires=SECRET),
    "a moment that is none": _command({"__type__": "datetime", "__value__": SECRET}),
    "a number that is none": _command(arguments={"safe": {"__type__": "decimal", "__value__": SECRET}}),
    "bytes that are none": _command({"__type__": "base64", "__value__": f"{SECRET}$"}),
    "a number of many digits": control_message(f'{{"method": {"9" * 100_000}}}'),
    "a mailbox with a half of a character": _command(
        reply_to={"exchange": "reply.celery.pidbox", "routing_key": "\ud800"}, ticket="t"
    ),
    "query_task": _command("query_task", arguments={"ids": {"x": SECRET}}),
    "registered": _command("registered", arguments={"taskinfoitems": ["__init__", 5]}),
}

# Commands that only `EMENDO_REMOTE_CONTROL=all` obeys.
COMMANDS_THAT_CHANGE: dict[str, dict[str, Any]] = {
    "shutdown": {},
    "pool_shrink": {"n": 1_000},
    "pool_grow": {"n": 1},
    "pool_restart": {"modules": ["os"], "reload": True},
    "autoscale": {"max": 0, "min": 0},
    "rate_limit": {"task_name": "emendo.drain", "rate_limit": "1/h"},
    "time_limit": {"task_name": "emendo.drain", "hard": 0.001, "soft": 0.001},
    "revoke": {"task_id": "1", "terminate": True, "signal": "KILL"},
    "terminate": {"task_id": "1", "signal": "KILL"},
    "add_consumer": {"queue": "evil"},
    "cancel_consumer": {"queue": "interactive"},
    "election": {"id": "1", "topic": "x", "action": {}},
    "hello": {"from_node": "x", "revoked": ["1"]},
    "report": {},
    "memdump": {},
}
