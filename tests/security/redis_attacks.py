"""Commands that a role must not be able to run, as a process would send them that fell into wrong hands."""

from __future__ import annotations

import hashlib

from emendo_config import Keys

KEYS = Keys("emendo:")
ROLES = ("app", "operator", "beat", "flower", "gateway", "exporter")

VICTIM = "victim"
MEMORY, HISTORY = KEYS.memory(VICTIM), KEYS.history(VICTIM)
# The key of this script is no argument, so that only its commands can be refused.
HIDDEN = f"return redis.call('HSET', '{MEMORY}', 'memory', 'stolen')"
HIDDEN_DIGEST = hashlib.sha1(HIDDEN.encode(), usedforsecurity=False).hexdigest()
# A script as workers have it, which takes the memory's key.
OPEN = "return redis.call('HSET', KEYS[1], 'memory', 'stolen')"
OPEN_DIGEST = hashlib.sha1(OPEN.encode(), usedforsecurity=False).hexdigest()
# The same for a queue, and for a key of another prefix.
EMPTY = "return redis.call('DEL', 'emendo:interactive')"
FOREIGN = "return redis.call('SET', 'other:key', 'x')"
EMPTY_DIGEST, FOREIGN_DIGEST = (
    hashlib.sha1(each.encode(), usedforsecurity=False).hexdigest() for each in (EMPTY, FOREIGN)
)
PIDBOX, EVENT = "emendo:/1.celery.pidbox", "emendo:/1.celeryev/task.succeeded"

# By the group's title: each attack by what it does.
ATTACKS: dict[str, dict[str, tuple[object, ...]]] = {
    "Memories": {
        "write a memory": ("HSET", MEMORY, "memory", "x"),
        "delete a memory": ("DEL", MEMORY),
        "let a memory expire": ("EXPIRE", MEMORY, 1),
        "write a memory by a script that workers loaded": ("EVALSHA", OPEN_DIGEST, 1, MEMORY),
        "write a memory by a script that hides the key": ("EVALSHA", HIDDEN_DIGEST, 0),
        "write a memory by a script that may only read": ("EVALSHA_RO", OPEN_DIGEST, 1, MEMORY),
        "write a history": ("XADD", HISTORY, "*", "event", "ADD"),
        "delete a history": ("DEL", HISTORY),
        "write a conflict": ("HSET", KEYS.conflict(VICTIM), "a", "b"),
        "write the embedding spaces": ("HSET", KEYS.spaces, "a", "b"),
        "say that a job was applied": ("SET", KEYS.applied(VICTIM, "job"), "1"),
        "take a memory's lock": ("SET", KEYS.lock(VICTIM), "1"),
        "read a memory": ("HGETALL", MEMORY),
        "read a history": ("XRANGE", HISTORY, "-", "+"),
        "search": ("FT.SEARCH", KEYS.index_alias, "*"),
        "copy a memory": ("COPY", MEMORY, KEYS.job("x")),
        "rename a memory": ("RENAME", MEMORY, KEYS.job("x")),
        "dump a memory": ("DUMP", MEMORY),
        "restore a key": ("RESTORE", KEYS.job("x"), 0, b"\0"),
        "move a key to another database": ("MOVE", MEMORY, 3),
        "read a part of a memory": ("GETRANGE", MEMORY, 0, 9),
        "write a memory by an older command": ("HMSET", MEMORY, "memory", "x"),
        "write a memory without overwriting": ("HSETNX", MEMORY, "eve", "x"),
        "fill a memory's key from a set": ("SINTERSTORE", MEMORY, KEYS.shards),
        "fill a memory's key from bits": ("BITOP", "NOT", MEMORY, KEYS.clock),
        "measure a memory": ("MEMORY", "USAGE", MEMORY),
        "ask when a memory was last used": ("OBJECT", "IDLETIME", MEMORY),
        "read a memory's lock": ("GET", KEYS.lock(VICTIM)),
        "read a cached vector": ("GET", KEYS.embedding("space", "digest")),
        "read an entry's history by its end": ("XREVRANGE", HISTORY, "+", "-"),
        "shorten a history": ("XTRIM", HISTORY, "MAXLEN", 0),
        "sort by other keys and only read": (
            "SORT_RO",
            KEYS.jobs("p"),
            "BY",
            "nosort",
            "GET",
            "emendo:memory:*->memory",
        ),
        "sort by other keys": ("SORT", KEYS.jobs("p"), "BY", "nosort", "GET", "emendo:memory:*->memory"),
    },
    "Indexes": {
        "drop the index": ("FT.DROPINDEX", KEYS.index("space")),
        "create an index": ("FT.CREATE", "other", "SCHEMA", "a", "TAG"),
        "change an index": ("FT.ALTER", KEYS.index("space"), "SCHEMA", "ADD", "a", "TAG"),
        "move the alias": ("FT.ALIASUPDATE", KEYS.index_alias, KEYS.index("space")),
        "drop the index, and all memories": ("FT.DROPINDEX", KEYS.index("space"), "DD"),
        "drop the index by an older command": ("FT.DROP", KEYS.index_alias),
        "delete a document of the index": ("FT.DEL", KEYS.index_alias, MEMORY, "DD"),
        "read a document of the index": ("FT.GET", KEYS.index_alias, MEMORY),
        "remove the alias": ("FT.ALIASDEL", KEYS.index_alias),
        "change the search module's settings": ("FT.CONFIG", "SET", "TIMEOUT", 0),
        "profile a search": ("FT.PROFILE", KEYS.index_alias, "SEARCH", "QUERY", "*"),
        "make a dictionary": ("FT.DICTADD", "emendo:dictionary", "x"),
        "make a synonym": ("FT.SYNUPDATE", KEYS.index_alias, "group", "mine", "yours"),
        "list all values of a field": ("FT.TAGVALS", KEYS.index_alias, "user_id"),
    },
    "Jobs and workers": {
        "remove an entry of an inbox": ("XDEL", KEYS.inbox("s"), "1-1"),
        "take jobs as a worker": ("XREADGROUP", "GROUP", "workers", "eve", "STREAMS", KEYS.inbox("s"), ">"),
        "take a worker's jobs away": ("XCLAIM", KEYS.inbox("s"), "workers", "eve", 0, "1-1"),
        "say that a job was taken": ("XACK", KEYS.inbox("s"), "workers", "1-1"),
        "shorten an inbox": ("XTRIM", KEYS.inbox("s"), "MAXLEN", 0),
        "remove the workers' group": ("XGROUP", "DESTROY", KEYS.inbox("s"), "workers"),
        "let an inbox expire": ("EXPIRE", KEYS.inbox("s"), 0),
        "delete an inbox": ("DEL", KEYS.inbox("s")),
        "read a job of any project": ("HGETALL", KEYS.job("x")),
        "take a message from a queue": ("RPOP", "emendo:interactive"),
        "take a message from the queue of housekeeping": ("RPOP", "emendo:maintenance"),
        "delete the queue of housekeeping": ("DEL", "emendo:maintenance"),
        "send a message": ("LPUSH", "emendo:interactive", "{}"),
        "say that a job has ended": ("PUBLISH", "emendo:done:x", "succeeded"),
        "move a message to another queue": ("LMOVE", "emendo:interactive", "emendo:bulk", "LEFT", "LEFT"),
        "delete a queue": ("DEL", "emendo:interactive"),
        "unlink a queue": ("UNLINK", "emendo:interactive"),
        "empty a queue by a script of one's own": (
            "EVAL",
            "return redis.call('DEL', KEYS[1])",
            1,
            "emendo:interactive",
        ),
        "empty a queue by a function": ("FCALL", "eve", 1, "emendo:interactive"),
        "empty a queue by a script that workers loaded": ("EVALSHA", EMPTY_DIGEST, 0),
        "drop the messages under way": ("DEL", "emendo:unacked"),
        "write an API key of the gateway": ("HSET", KEYS.gateway_key("eve"), "scope", "admin"),
        "hide an API key from the list": ("ZREM", KEYS.gateway_keys, "eve"),
        "forget an API key": ("DEL", KEYS.gateway_key("eve")),
        "enter a worker in the list": ("ZADD", KEYS.workers, 1, "me"),
        "write the feed": ("XADD", KEYS.feed, "*", "a", "b"),
        "write the counters of usage": ("HSET", KEYS.usage, "a", 1),
        "write the metrics": ("HINCRBY", KEYS.metrics, "a", 1),
        "open a circuit breaker": ("HSET", KEYS.breaker("openai"), "until", "9"),
        "change the re-embedding's state": ("HSET", KEYS.migration, "a", "b"),
        "send workers a command": ("PUBLISH", PIDBOX, "{}"),
        "send an event as a worker": ("PUBLISH", EVENT, "{}"),
        "listen to the events": ("PSUBSCRIBE", "emendo:/1.celeryev/*"),
        "listen to all ends of jobs": ("PSUBSCRIBE", "emendo:done:*"),
        "listen to changes of keys": ("SUBSCRIBE", "__keyevent@0__:hset"),
        "listen on a sharded channel": ("SSUBSCRIBE", "emendo:done:x"),
        "list the channels": ("PUBSUB", "CHANNELS"),
        "listen to every channel": ("PSUBSCRIBE", "*"),
    },
    "Other keys": {
        "read a key of another prefix": ("GET", "other:key"),
        "write a key of another prefix": ("SET", "other:key", "x"),
        "unlink a key of another prefix": ("UNLINK", "other:key"),
        "ask for the type of a key of another prefix": ("TYPE", "other:key"),
        "write a key of another prefix by a script": ("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "other:key"),
        "write a key of another prefix by a script that hides it": ("EVAL", FOREIGN, 0),
        "write a key of another prefix by a script that workers loaded": ("EVALSHA", FOREIGN_DIGEST, 0),
        "list the keys": ("KEYS", "*"),
        "scan the keys": ("SCAN", 0),
        "draw a key": ("RANDOMKEY",),
        "search another installation": ("FT.SEARCH", "other:memories", "*"),
        "add up another installation": ("FT.AGGREGATE", "other:memories", "*", "LOAD", 1, "@user_id"),
        "read another installation's cursor": ("FT.CURSOR", "READ", "other:memories", 1),
        "look at another installation's index": ("FT.INFO", "other:memories"),
        "drop another installation's index": ("FT.DROPINDEX", "other:memories"),
        "change another installation's index": ("FT.ALTER", "other:memories", "SCHEMA", "ADD", "eve", "TAG"),
        "search another installation by one's own name": ("FT.ALIASUPDATE", KEYS.index_alias, "other:memories"),
        "give another installation's index a name": ("FT.ALIASADD", "emendo:eve", "other:memories"),
        "make an index of another prefix": (
            "FT.CREATE",
            "emendo:eve",
            "PREFIX",
            1,
            "other:",
            "SCHEMA",
            "user_id",
            "TAG",
        ),
        "rename a key into another prefix": ("RENAME", KEYS.job("x"), "other:key"),
    },
    "The server": {
        "read its settings": ("CONFIG", "GET", "maxmemory-policy"),
        "change its settings": ("CONFIG", "SET", "maxmemory", "1"),
        "read all its figures": ("INFO",),
        "delete everything": ("FLUSHALL",),
        "delete a database": ("FLUSHDB",),
        "swap databases": ("SWAPDB", 0, 1),
        "watch all commands": ("MONITOR",),
        "read slow commands with their arguments": ("SLOWLOG", "GET"),
        "list the users": ("ACL", "LIST"),
        "make a user": ("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all"),
        "run a script of one's own": ("EVAL", "return 1", 0),
        "forget all scripts": ("SCRIPT", "FLUSH"),
        "stop a script": ("SCRIPT", "KILL"),
        "load a function": ("FUNCTION", "LOAD", "#!lua name=eve\nredis.register_function('eve', function() end)"),
        "call a function": ("FCALL", "eve", 0),
        "make it a replica": ("REPLICAOF", "203.0.113.1", 6379),
        "copy everything as a replica": ("PSYNC", "?", -1),
        "send keys elsewhere": ("MIGRATE", "203.0.113.1", 6379, MEMORY, 0, 1),
        "shut it down": ("SHUTDOWN", "NOSAVE"),
        "save it": ("BGSAVE",),
        "list the connections": ("CLIENT", "LIST"),
        "end connections": ("CLIENT", "KILL", "TYPE", "normal"),
        "hold up all clients": ("CLIENT", "PAUSE", 1),
        "hear of every key that is used": ("CLIENT", "TRACKING", "ON", "BCAST"),
        "wake another connection": ("CLIENT", "UNBLOCK", 1),
        "read a user's rights": ("ACL", "GETUSER", "worker"),
        "read what users were refused": ("ACL", "LOG"),
        "delete a user": ("ACL", "DELUSER", "exporter"),
        "become another user": ("AUTH", "worker", "guess"),
        "become another user by a greeting": ("HELLO", 2, "AUTH", "worker", "guess"),
        "write its settings to the file": ("CONFIG", "REWRITE"),
        "reset its figures": ("CONFIG", "RESETSTAT"),
        "forget slow commands": ("SLOWLOG", "RESET"),
        "read its figures by sections": ("INFO", "memory", "everything"),
        "read passwords among its settings": ("CONFIG", "GET", "masterauth"),
        "load a script of one's own": ("SCRIPT", "LOAD", "return 1"),
        "run a script of one's own that reads": ("EVAL_RO", "return 1", 0),
        "copy all functions": ("FUNCTION", "DUMP"),
        "delete all functions": ("FUNCTION", "FLUSH"),
        "call a function that reads": ("FCALL_RO", "eve", 0),
        "rewrite its append-only file": ("BGREWRITEAOF",),
        "hand over to a replica": ("FAILOVER",),
        "list its modules": ("MODULE", "LIST"),
        "let it crash": ("DEBUG", "SEGFAULT"),
        "load a module": ("MODULE", "LOAD", "/eve.so"),
    },
}

_CLIENTS = ("app", "operator", "gateway")
# The role may do these, because they are its work, or because an ACL cannot tell them from its work.
_READS = dict.fromkeys(("read a memory", "read a history", "search", "read a job of any project"), _CLIENTS)
_FLOWERS = dict.fromkeys(
    ("send workers a command", "send an event as a worker", "listen to the events", "drop the messages under way"),
    ("flower",),
)
_OPERATORS = (
    "scan the keys",
    "read its settings",
    "read passwords among its settings",
    "change the re-embedding's state",
    "delete an inbox",
    "delete a queue",
    "empty a queue by a script that workers loaded",
    "delete the queue of housekeeping",
    "hide an API key from the list",
    "forget an API key",
)
ALLOWED: dict[str, tuple[str, ...]] = {
    **_READS,
    **_FLOWERS,
    **dict.fromkeys(_OPERATORS, ("operator",)),
    **dict.fromkeys(("let an inbox expire", "send a message", "say that a job has ended"), _CLIENTS),
    "load a script of one's own": (*_CLIENTS, "flower"),
    "write an API key of the gateway": ("operator", "gateway"),
    "read all its figures": ("operator", "exporter"),
    "read its figures by sections": (*_CLIENTS, "exporter"),
}
