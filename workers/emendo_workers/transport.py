"""kombu's Redis transport, for workers that outlive their broker.

kombu 5.7 ends the whole worker when the broker goes away at the wrong moment: it restores unacknowledged messages over
the connection it has just closed, and it acknowledges messages on a channel that is closed already. Both raise
AttributeError where only connection errors are expected. Neither is needed: a drain message is no job, and one that is
lost, or comes twice, is rung for again or finds the shard taken.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """Leaves messages of a closed connection alone."""

    do_restore = False

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:  # kombu's signature
        """Acknowledges a message, unless its connection is closed."""
        if self.connection is not None:
            super().basic_ack(delivery_tag, multiple)


class Transport(redis.Transport):
    """The transport with that channel."""

    Channel = Channel


def install() -> None:
    """Makes `redis://` and `rediss://` brokers of this process use it."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
