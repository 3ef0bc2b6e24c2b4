"""The keys, channels and commands that each role needs in Redis, by plane, and nothing more.

Key patterns come from `Keys`. The commands of a script are read out of its text. Redis checks each command that a
script runs by the rights of the user who runs it. So a user may load any script, and gains nothing by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from emendo_config.queues import MAINTENANCE, QUEUES
from emendo_config.store.keys import Keys
from emendo_config.store.scripts import TABLE

Plane = Literal["data", "control", "broker"]
PLANES: tuple[Plane, ...] = get_args(Plane)

_COMMAND = re.compile(r"(?:call|pcall|guard|apply)\('([A-Z][A-Z.]+)'")

# Every connection: logging in, choosing the database, and a transaction that is given up.
_CONNECTION = "auth hello ping select quit client|setinfo client|setname multi exec discard"
# kombu needs these to send a message, and a worker or Flower needs the others to receive one.
_SENDING = "llen sadd lpush"
_RECEIVING = (
    "brpop rpop rpush get set del mget hget hset hdel hexists smembers sismember srem zadd zrem zrange zrangebyscore"
)
_RECEIVING += " zrevrangebyscore expire pexpire exists time watch unwatch evalsha script|load script|exists"
_RECEIVING += " publish subscribe unsubscribe psubscribe punsubscribe"
_SCRIPTS = "evalsha evalsha_ro script|load"
_SEARCHES = "ft.search ft.aggregate ft.cursor ft.info ft._list"
_READS = (
    "time exists type get hget hmget hgetall hlen hscan hstrlen smembers llen xlen xrange zcard zcount zrange zrevrange"
)
_READS += " zscore info|memory"


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a role on one plane.

    Attributes:
        writes, reads: globs of the keys that it may write and read, and of those that it may only read.
        channels: globs of pub/sub channels; a pattern subscription needs its own pattern, literally.
        commands: as an ACL names them.
    """

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    commands: frozenset[str] = field(default_factory=frozenset)

    def __or__(self, other: Rights) -> Rights:
        """The rights of both."""
        writes = (*self.writes, *(each for each in other.writes if each not in self.writes))
        reads = dict.fromkeys(each for each in (*self.reads, *other.reads) if each not in writes)
        channels = dict.fromkeys((*self.channels, *other.channels))
        return Rights(writes, tuple(reads), tuple(channels), self.commands | other.commands)


class Names(NamedTuple):
    """The names of one installation.

    Attributes:
        keys: for its prefix.
        broker_database: number of the database that the broker has; kombu's channels name it.
    """

    keys: Keys
    broker_database: int = 1

    @classmethod
    def of(cls, prefix: str, broker_database: int = 1) -> Names:
        """Those of a prefix, which may hold characters that mean something in a glob."""
        return cls(Keys(re.sub(r"([*?\[\]\\])", r"\\\1", prefix)), broker_database)

    @property
    def pidbox(self) -> str:
        """Channel: commands for all workers, such as ping and shutdown."""
        return f"{self.keys.prefix}/{self.broker_database}.celery.pidbox"

    @property
    def events(self) -> str:
        """Channels: the workers' events."""
        return f"{self.keys.prefix}/{self.broker_database}.celeryev/*"

    def queues(self, *names: str) -> tuple[str, ...]:
        """Lists: the queues, each with its priorities."""
        return tuple(f"{self.keys.prefix}{name}*" for name in names)

    @property
    def bindings(self) -> str:
        """Sets: which queues belong to an exchange."""
        return f"{self.keys.prefix}_kombu.binding*"


Planes = dict[Plane, Rights]


def script_commands(names: Iterable[str]) -> frozenset[str]:
    """The commands that scripts run."""
    return frozenset(name.lower() for script in names for name in _COMMAND.findall(TABLE[script].text))


def _commands(*lists: str, scripts: Iterable[str] = ()) -> frozenset[str]:
    return frozenset(" ".join(lists).split()) | script_commands(scripts)


def _app(names: Names) -> Planes:
    """Calls of the client: it submits jobs, waits for them, and reads and searches memories."""
    keys = names.keys
    scripts = ("accept", "append", "cancel", "discard", "hurry", "replay")
    return {
        "data": Rights(
            # Older search modules take the alias for a key that a search writes.
            writes=(keys.index_alias,),
            reads=(
                f"{keys.memory_prefix}*",
                keys.history("*"),
                keys.erased_history("*"),
                keys.conflict("*"),
                keys.spaces,
            ),
            commands=_commands(_CONNECTION, _SEARCHES, _READS, "evalsha_ro script|load"),
        ),
        "control": Rights(
            writes=(
                keys.job("*"),
                keys.jobs("*"),
                keys.inbox("*"),
                keys.wakeup("*"),
                keys.clock,
                keys.shards,
                f"{keys.prefix}idempotency:*",
                keys.delayed,
                keys.cancelling,
                keys.accepting,
                keys.weak_sealed("*"),
                keys.open_jobs("*"),
                f"{keys.admitted_prefix}*",
                f"{keys.waiting_prefix}*",
                keys.waiting_lanes,
                keys.dead("*"),
                keys.dead_projects,
                keys.dead_of("*"),
                keys.unsorted_dead,
                keys.project("*"),
            ),
            reads=(
                keys.conflicts("*"),
                keys.workers,
                keys.worker_faults,
                keys.full,
                keys.usage,
                keys.housekeeping,
                keys.breaker("*"),
                keys.migration,
                keys.migration_failures,
            ),
            channels=(keys.job_channel("*"),),
            # `accept` deletes the state of a re-embedding only, which is the operator's.
            commands=_commands(_CONNECTION, _SCRIPTS, _READS, "hset hdel subscribe unsubscribe", scripts=scripts)
            - {"del"},
        ),
        "broker": Rights(writes=(*names.queues(*QUEUES), names.bindings), commands=_commands(_CONNECTION, _SENDING)),
    }


def _operator(names: Names) -> Planes:
    """The command line: what an app may do, re-embedding, keys of the gateway, and the looks of `emendo doctor`."""
    keys, more = names.keys, "info scan config|get"
    return _merged(
        _app(names),
        {
            "data": Rights(writes=(f"{keys.prefix}index:*",), reads=(keys.rate_limit("*"),), commands=_commands(more)),
            "control": Rights(
                writes=(keys.migration, keys.migration_failures, f"{keys.prefix}gateway:*"),
                reads=(keys.rate_limit("*"),),
                commands=_commands(more, "del expireat", scripts=("steer",)),
            ),
        },
    )


def _worker(names: Names) -> Planes:
    """The worker: everything under the prefix."""
    keys = names.keys
    everything = (f"{keys.prefix}*",)
    searches = f"{_SEARCHES} ft.create ft.alter ft.dropindex ft.aliasadd ft.aliasupdate"
    writes = (
        "set incrby del unlink rename persist expire pexpire mget scan wait waitaof watch unwatch bgrewriteaof info"
    )
    streams = "xadd xack xdel xclaim xautoclaim xpending xrevrange xreadgroup xgroup|create xinfo|groups"
    others = "hset hsetnx hdel hexists hincrby sadd srem sscan sismember smismember zadd zrem zscan zrangebyscore info"
    own = _commands(_CONNECTION, _SCRIPTS, _READS, writes, streams, others, "publish", scripts=TABLE) - {"xgroup"}
    return {
        "data": Rights(writes=everything, commands=own | _commands(searches)),
        "control": Rights(
            writes=everything, channels=(keys.job_channel("*"),), commands=own | _commands("subscribe unsubscribe")
        ),
        "broker": Rights(
            writes=everything,
            channels=(names.pidbox, names.events),
            # A full Redis takes a message only from a script, see `broker_transport`.
            commands=_commands(_CONNECTION, _SENDING, _RECEIVING, "eval"),
        ),
    }


def _beat(names: Names) -> Planes:
    """The clock: it asks for housekeeping."""
    writes = (*names.queues(MAINTENANCE), names.bindings)
    return {"broker": Rights(writes=writes, commands=_commands(_CONNECTION, _SENDING))}


def _flower(names: Names) -> Planes:
    """Flower: it follows events and asks workers what they do. An ACL cannot tell such a question from a shutdown."""
    keys = names.keys
    mine = ("*.reply.celery.pidbox*", "celeryev.*", "unacked*")
    return {
        "broker": Rights(
            writes=(names.bindings, *(f"{keys.prefix}{each}" for each in mine)),
            reads=names.queues(*QUEUES),
            channels=(names.pidbox, names.events),
            commands=_commands(_CONNECTION, _SENDING, _RECEIVING),
        )
    }


def _gateway(names: Names) -> Planes:
    """The gateway: what an app may do, for users who have no Redis, keys of its own, and the metrics."""
    keys = names.keys
    # It notes when a key was used. The list of keys is the operator's. `limits` counts requests with an own script.
    own = Rights(
        writes=(keys.gateway_key("*"), f"{keys.gateway_rates}*"),
        reads=(keys.metrics, keys.projects, keys.rate_limit("*")),
        commands=_commands("incrby ttl"),
    )
    return _merged(_app(names), {"control": own, "data": Rights(reads=(f"{keys.embedding_bytes_prefix}*",))})


def _exporter(_: Names) -> Planes:
    """An exporter of Redis' own metrics; also the container's health check."""
    looks = "info latency|latest latency|histogram slowlog|len ft._list"
    return dict.fromkeys(PLANES, Rights(commands=_commands(_CONNECTION, looks)))


ROLES: dict[str, Callable[[Names], Planes]] = {
    "app": _app,
    "operator": _operator,
    "worker": _worker,
    "beat": _beat,
    "flower": _flower,
    "gateway": _gateway,
    "exporter": _exporter,
}


def rights_of(role: str, names: Names, planes: Iterable[Plane] = PLANES) -> Rights:
    """The rights of a role on a Redis that serves these planes.

    Raises:
        KeyError: there is no such role.
    """
    found, together = ROLES[role](names), Rights()
    for plane in planes:
        together |= found.get(plane, Rights())
    return together


def _merged(some: Planes, more: Planes) -> Planes:
    return {plane: some.get(plane, Rights()) | more.get(plane, Rights()) for plane in PLANES}
