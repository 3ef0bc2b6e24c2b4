"""A look at one's own rights in Redis that changes nothing.

Redis checks the rights of each command as it comes into a transaction. The transaction is then discarded. So no right
to ask for rights is needed (ACL DRYRUN is for administrators).
"""

from __future__ import annotations

from typing import Any

import redis
from redis.exceptions import NoPermissionError, ResponseError

from emendo_config.redis_users.roles import Rights

# Carried out within a transaction, too, or not part of one.
_AT_ONCE = frozenset(["auth", "hello", "quit", "ping", "select", "multi", "exec", "discard", "watch", "unwatch"])
# Commands with a fixed number of arguments; Redis looks at the number before it looks at the rights.
_ARGUMENTS = {
    0: "time discard unwatch bgrewriteaof",
    1: "get type ttl persist hgetall hlen llen strlen smembers scard xlen zcard select",
    2: "hget hexists hstrlen incrby lindex publish rename sismember zscore zrank wait",
    3: "hsetnx hincrby zcount zremrangebyscore waitaof",
}
_OF_CHANNELS = frozenset(["publish", "subscribe", "psubscribe", "unsubscribe", "punsubscribe"])
_NUMBER = {name: count for count, names in _ARGUMENTS.items() for name in names.split()}
# Enough for every command that takes any number.
_MOST = 8
_TRIED_ON_KEYS = {True: ("hset", "sadd", "lpush"), False: ("hget", "hmget", "llen")}
# It stands for the part of a key that may be anything.
_ANY = "-"


def missing_rights(connection: redis.Redis, rights: Rights) -> list[str] | None:
    """The rules that the user of this connection lacks, as an ACL has them: `+hset`, `~emendo:job:*`.

    Args:
        connection: to the Redis in question.
        rights: what the process needs there.

    Returns:
        None when the user may not even begin a transaction.

    Raises:
        RedisError: Redis could not be reached, or did not answer in time.
    """
    allowed = next(iter((*rights.writes, *rights.reads)), "-").replace("*", _ANY)
    tried: list[tuple[str, tuple[Any, ...]]] = [
        (f"+{name}", _with_arguments(name, allowed)) for name in sorted(rights.commands - _AT_ONCE - _OF_CHANNELS)
    ]
    for patterns, writes in ((rights.writes, True), (rights.reads, False)):
        command = next((name for name in _TRIED_ON_KEYS[writes] if name in rights.commands), None)
        rule = "~{}" if writes else "%R~{}"
        if command is not None:
            tried += [
                (rule.format(each), _with_arguments(command, each.replace("*", _ANY).replace("\\", "")))
                for each in patterns
            ]
    if "publish" in rights.commands:
        tried += [(f"&{each}", ("PUBLISH", each.replace("*", _ANY).replace("\\", ""), "")) for each in rights.channels]
    pool = connection.connection_pool
    wire: Any = pool.get_connection()
    try:
        wire.send_command("MULTI")
        try:
            wire.read_response()
        except NoPermissionError:
            return None
        wire.send_packed_command(wire.pack_commands([words for _, words in tried] + [("DISCARD",)]))
        refused = [_is_refused(wire) for _ in tried]
        wire.read_response()
    except BaseException:
        wire.disconnect()  # nobody may go on in this transaction
        raise
    finally:
        pool.release(wire)
    missing = [(rule, words[0].lower()) for (rule, words), is_lacking in zip(tried, refused, strict=True) if is_lacking]
    rules = {rule for rule, _ in missing}
    # Without the command that it was tried with, a key says nothing.
    return [rule for rule, command in missing if rule.startswith("+") or f"+{command}" not in rules]


def _with_arguments(command: str, key: str) -> tuple[Any, ...]:
    """A command on this key only; it is not carried out."""
    name, _, first = command.partition("|")
    if name in ("eval", "evalsha", "evalsha_ro"):
        return (name.upper(), "return 0", 0)
    words = [name.upper(), *([first.upper()] if first else [])]
    return (*words, *[key] * (_NUMBER.get(name, _MOST) if not first else _MOST_OF_FIRST.get(command, 1)))


# The same for subcommands.
_MOST_OF_FIRST = {"client|setinfo": 2, "client|setname": 1, "script|load": 1, "xgroup|create": 3, "info|memory": 0}
_MOST_OF_FIRST |= {"slowlog|len": 0, "latency|latest": 0}


def _is_refused(wire: Any) -> bool:
    try:
        wire.read_response()
    except NoPermissionError:
        return True
    except ResponseError:
        return False
    return False
