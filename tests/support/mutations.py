"""Random mutations of stored values: of the bytes, and of the JSON in them."""

from __future__ import annotations

import json
import random
from typing import Any

import redis

# Values that something else than their reader expects.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 10**30, -(2**63), 1e308, "", "x", "0", "1e400", "nan", "\x00", "\u202e"),
    *([], {}, [[]], [None], {"": None}, {"op": "x"}, [{"a": [{}]}], "9" * 400, "a:b", "default", "other"),
)
ODD_BYTES = (b"", b"\xff\xfe", b"[" * 2_000, b"{", b"null", b"NaN", b"1e400", b"-1", b"9" * 400, b"\x00" * 8, b'"x"')


def mutated(value: bytes, rng: random.Random) -> bytes:  # noqa: PLR0911  # one for each way
    """The bytes, changed in one of many ways; as JSON if they are."""
    try:
        document = json.loads(value)
    except ValueError:
        document = None
    if isinstance(document, dict | list) and rng.random() < 0.7:  # mostly
        try:
            return json.dumps(mutated_json(document, rng), ensure_ascii=False).encode(errors="surrogatepass")
        except (ValueError, RecursionError):
            return b"{"
    way = rng.randrange(6)
    if way == 0 and value:
        place = rng.randrange(len(value))
        return value[:place] + bytes([value[place] ^ 1 << rng.randrange(8)]) + value[place + 1 :]
    if way == 1:
        return value[: rng.randrange(len(value) + 1)]
    if way == 2:  # as above
        return value + value
    if way == 3:
        return value + rng.choice(ODD_BYTES)
    return rng.choice(ODD_BYTES)


def mutated_json(document: Any, rng: random.Random) -> Any:
    """The document with one part dropped, doubled, renamed, nested or replaced, at any depth."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.15:
        return rng.choice([*ODD, [document], {"operations": document}])
    if isinstance(document, list):
        items, place = list(document), rng.randrange(len(document))
        way = rng.randrange(4)
        if way == 0:
            del items[place]
        elif way == 1:
            items.insert(place, items[rng.randrange(len(items))])
        else:
            items[place] = mutated_json(items[place], rng)
        return items
    fields, name = dict(document), rng.choice(list(document))
    way = rng.randrange(5)
    if way == 0:
        del fields[name]
    elif way == 1:
        fields[rng.choice(["project", "op", "memory_id", "format", "first", "planned", "submitted"])] = rng.choice(ODD)
    elif way == 2:
        fields[name] = fields[rng.choice(list(fields))]
    else:
        fields[name] = mutated_json(fields[name], rng)
    return fields


def mutate_key(connection: redis.Redis, key: bytes, rng: random.Random) -> None:
    """Changes a part of what a key holds, whatever its type."""
    kind = connection.type(key)
    ttl = connection.ttl(key)
    if kind == b"hash":
        name = rng.choice(sorted(connection.hkeys(key)))
        if rng.random() < 0.2:
            connection.hdel(key, name)
        else:
            connection.hset(key, name, mutated(connection.hget(key, name) or b"", rng))
    elif kind == b"string":
        connection.set(key, mutated(connection.get(key) or b"", rng))
    elif kind == b"stream":
        _mutate_stream(connection, key, rng)
    elif kind == b"zset":
        member, score = rng.choice(connection.zrange(key, 0, -1, withscores=True))
        connection.zadd(key, {mutated(member, rng): rng.choice([score, 0, -1, 9e15, float("inf")])})
    elif kind == b"set":
        connection.sadd(key, mutated(rng.choice(sorted(connection.smembers(key))), rng))
    elif kind == b"list":
        connection.lset(key, 0, mutated(connection.lindex(key, 0) or b"", rng))
    if ttl > 0:
        connection.expire(key, ttl)


def _mutate_stream(connection: redis.Redis, key: bytes, rng: random.Random) -> None:
    entries: Any = connection.xrange(key)
    if not entries:
        return
    if b"history:" not in key:  # an inbox has a group, and goes on
        _, fields = rng.choice(entries)
        connection.xadd(key, {name: mutated(value, rng) for name, value in fields.items()})
        return
    chosen = rng.randrange(len(entries))
    connection.delete(key)
    for place, (entry_id, fields) in enumerate(entries):
        if place == chosen:
            name = rng.choice(sorted(fields))
            fields[name] = mutated(fields[name], rng)
        connection.xadd(key, fields, id=entry_id)
