"""The backlog of each queue: how many jobs stand in its inboxes, and the age of the oldest one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from emendo_client.exchanges.exchange import Exchange, RoundTrip, run_async
from emendo_config import Keys
from emendo_config.queues import QUEUES
from emendo_config.shards import queue_of
from emendo_config.store.clock import seconds_of
from emendo_config.store.pipeline import Command, as_text
from emendo_config.store.scripts import AsyncSender


class Inbox(NamedTuple):
    """One inbox, or those of one queue together.

    Attributes:
        depth: jobs and chunks that wait in it or are worked now.
        age: of the oldest of them, in seconds; 0 for none.
    """

    depth: int = 0
    age: float = 0.0


async def backlog_async(senders: Mapping[str, AsyncSender], keys: Keys) -> dict[str, Inbox]:
    """The backlog of each of QUEUES, over all projects. It costs two short commands for each shard.

    A delayed job that is overdue counts in its queue. Where no worker runs, nobody puts it back into its inbox.

    Raises:
        NetworkError: Redis could not be reached in time.
        VectorStoreError: Redis refused a command.
    """
    return await run_async(senders, _backlog(keys))


def _backlog(keys: Keys) -> Exchange[dict[str, Inbox]]:
    clock, members, first_due = yield RoundTrip(
        "control", [("TIME",), ("SMEMBERS", keys.shards), ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES")]
    )
    now = seconds_of(clock)
    shards = [as_text(member) for member in members]
    replies = yield RoundTrip("control", inbox_commands(keys, shards))
    queues = by_queue(inboxes_of(shards, replies, now))
    overdue = now - float(first_due[1]) / 1_000 if first_due else 0.0
    if overdue > 0:
        queue = queue_of(as_text(first_due[0]).partition(":")[0])
        queues[queue] = Inbox(queues[queue].depth + 1, max(queues[queue].age, overdue))
    return queues


def inbox_commands(keys: Keys, shards: Iterable[str]) -> list[Command]:
    """The commands whose replies `inboxes_of` reads."""
    return [
        command
        for shard in shards
        for command in (("XLEN", keys.inbox(shard)), ("XRANGE", keys.inbox(shard), "-", "+", "COUNT", 1))
    ]


def inboxes_of(shards: Sequence[str], replies: Sequence[Any], now: float) -> dict[str, Inbox]:
    """The inbox of each shard, from the replies to `inbox_commands`.

    Args:
        now: of the Redis that replied, in seconds since 1970.
    """
    lengths, heads = replies[::2], replies[1::2]
    return {shard: Inbox(length, _age(head, now)) for shard, length, head in zip(shards, lengths, heads, strict=True)}


def by_queue(inboxes: Mapping[str, Inbox]) -> dict[str, Inbox]:
    """The inboxes of each of QUEUES together."""
    return {
        queue: Inbox(
            sum(inbox.depth for shard, inbox in inboxes.items() if queue_of(shard) == queue),
            max((inbox.age for shard, inbox in inboxes.items() if queue_of(shard) == queue), default=0.0),
        )
        for queue in QUEUES
    }


def _age(head: Sequence[Any], now: float) -> float:
    """Seconds since the stream's first entry was written; its id holds the time."""
    if not head:
        return 0.0
    milliseconds = int(as_text(head[0][0]).partition("-")[0])
    return max(0.0, now - milliseconds / 1_000)
