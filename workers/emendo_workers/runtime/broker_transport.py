"""kombu's Redis transport, changed so that a worker outlives its broker, and what others put into it.

kombu 5.7 ends the whole worker when the broker goes away at the wrong moment. It restores unacknowledged messages over
the connection it has just closed, and it acknowledges messages on a closed channel. Both raise AttributeError where
only connection errors are expected. Neither is needed: a drain message is no job. If one is lost the sweeper sends
another, and if one comes twice the second drain finds the shard claimed.

kombu also ends the worker when a list or channel holds what is no message of its own. Here such a value is dropped.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.json import dumps
from redis.exceptions import OutOfMemoryError, ResponseError

from emendo_workers.runtime.task_messages import MalformedMessageError, checked_envelope, read_message

logger = logging.getLogger(__name__)

_PUSH = """#!lua flags=allow-oom
return redis.call('LPUSH', KEYS[1], ARGV[1])"""
_BIND = """#!lua flags=allow-oom
return redis.call('SADD', KEYS[1], ARGV[1]) + redis.call('SADD', KEYS[2], ARGV[1])"""
# Keys that hold another type than kombu's would stop every queue of every worker, for as long as they are there.
_DROP = """local dropped = 0
for place, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= ARGV[place] then dropped = dropped + redis.call('UNLINK', key) end
end
return dropped"""


class QoS(redis.QoS):
    """Keeps account of messages under way; in this process alone while the broker has no memory for it."""

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Notes a message that was received."""
        try:
            super().append(message, delivery_tag)
        except OutOfMemoryError:
            virtual.QoS.append(self, message, delivery_tag)
        except ResponseError as error:
            self.channel.drop_damaged(error)  # type: ignore[attr-defined]  # it is one of ours
            super().append(message, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Returns messages of dead workers to their queues, which may wait until there is memory."""
        try:
            super().restore_visible(*args, **kwargs)
        except OutOfMemoryError:
            return
        except ResponseError as error:
            self.channel.drop_damaged(error)  # type: ignore[attr-defined]  # as above

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # kombu's signature
        """Returns one message to its queue; what is no message is forgotten."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (TypeError, ValueError):
            _warn("it was kept as one under way and is none")
            channel: Any = self.channel
            with channel.conn_or_acquire(client) as connection, connection.pipeline() as pipe:
                self._remove_from_indices(tag, pipe).execute()  # type: ignore[attr-defined]  # not in the stubs


class Channel(redis.Channel):
    """A channel that neither restores nor acknowledges messages of a closed connection."""

    QoS = QoS
    do_restore = False

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:  # kombu's signature
        """Acknowledges a message, unless its connection is closed."""
        if self.connection is not None:
            super().basic_ack(delivery_tag, multiple)

    def drop_damaged(self, error: ResponseError) -> None:
        """Removes those of the transport's keys that hold another type than it needs.

        Raises:
            ResponseError: the error is another one.
        """
        if "WRONGTYPE" not in str(error):  # a pipeline puts words of its own before it
            raise error
        kinds = {self.unacked_key: "hash", self.unacked_index_key: "zset"}
        for queue in self.active_queues:
            kinds |= {self._q_for_pri(queue, each): "list" for each in self.priority_steps}  # type: ignore[attr-defined]
        with self.conn_or_acquire() as client:
            names = [f"{self.global_keyprefix}{key}" for key in kinds]
            dropped = client.eval(_DROP, len(names), *names, *kinds.values())
        if dropped:
            _warn("a key of the transport held another type")

    def return_unread(self) -> None:
        """Waits for the read that is under way, and returns its message to the queue, which has no consumer here."""
        channel: Any = self  # the stubs know little of it
        reading = channel._in_poll  # noqa: SLF001  # kombu's own mark of a read under way
        with suppress(Empty, *channel.connection_errors):
            if reading and reading.can_read(timeout=channel.brpop_timeout):
                self._brpop_read()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except ResponseError as error:
            self.drop_damaged(error)
            raise Empty from None

    def maybe_refresh_binding_expiry(self) -> None:
        """Prolongs the bindings of temporary queues; kombu would log each refusal with its traceback."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]
        except OutOfMemoryError:
            return

    def _do_restore_message(self, payload: Any, exchange: Any, routing_key: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(exchange, str) or not isinstance(routing_key, str):
            _warn("it was kept as one under way and is none")
            return
        try:
            checked = checked_envelope(payload)
        except MalformedMessageError as problem:  # kombu would log it whole
            _warn(str(problem))
            return
        super()._do_restore_message(checked, exchange, routing_key, *args, **kwargs)  # type: ignore[misc]

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        try:
            super()._put(queue, message, **kwargs)
        except OutOfMemoryError:
            key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))  # type: ignore[attr-defined]
            self._run_at_limit(_PUSH, [key], dumps(message))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]
        except OutOfMemoryError:
            member = self.sep.join([routing_key or "", pattern or "", queue or ""])
            permanent: str = self.keyprefix_binding_permanent % (exchange,)  # type: ignore[attr-defined]
            keys = [self.keyprefix_queue % (exchange,), permanent]
            self._run_at_limit(_BIND, keys, member)

    def _run_at_limit(self, script: str, keys: list[str], value: str) -> None:
        with self.conn_or_acquire() as client:
            client.eval(script, len(keys), *(f"{self.global_keyprefix}{key}" for key in keys), value)


class _Checking:
    """Delivers messages only."""

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            checked = checked_envelope(message)
        except MalformedMessageError as problem:
            _warn(str(problem))
            return
        super()._deliver(checked, queue)  # type: ignore[misc]


class Transport(_Checking, redis.Transport):
    """A transport with this channel."""

    Channel = Channel


class SentinelChannel(Channel, redis.SentinelChannel):
    """The same for a master that sentinels name."""


class SentinelTransport(_Checking, redis.SentinelTransport):
    """A transport with this channel."""

    Channel = SentinelChannel


def install() -> None:
    """Makes this process use the transports for `redis://`, `rediss://` and `sentinel://` brokers."""
    # kombu's own raises many kinds of errors between the socket and `_deliver`, and logs what it could not read.
    redis.loads = read_message  # type: ignore[attr-defined]
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"


def _warn(reason: str) -> None:
    logger.warning("a message of the broker is malformed and was dropped", extra={"reason": reason})
