"""The parts that an installation may be made of, each tried with the whole story of a client."""

from __future__ import annotations

from typing import NamedTuple


class Parts(NamedTuple):
    """One installation.

    Attributes:
        name: as the test has it.
        settings: where the parts are, as an operator writes it. All else has its default.
        behind: what stands there.
    """

    name: str
    settings: dict[str, str]
    behind: str


_REDIS, _CONTROL, _BROKER = "EMENDO_REDIS_URL", "EMENDO_CONTROL_URL", "EMENDO_BROKER_URL"

PARTS = (
    Parts("redis", {_REDIS: "redis://"}, "one Redis at a port, with a password"),
    Parts("unix", {_REDIS: "unix://"}, "one Redis at a unix socket, with a password"),
    Parts(
        "unix databases",
        {_REDIS: "unix://", _CONTROL: "unix://…?db=2", _BROKER: "unix://…?db=3"},
        "three databases of the Redis at one socket",
    ),
    Parts(
        "control apart",
        {_REDIS: "redis://", _CONTROL: "redis://", _BROKER: "redis://"},
        "memories in a Redis with search; jobs, and the broker's messages, in a second Redis without the search module",
    ),
    Parts("rabbitmq", {_REDIS: "redis://", _BROKER: "amqp://"}, "RabbitMQ 3.10 as the broker"),
    Parts("rabbitmq with TLS", {_REDIS: "redis://", _BROKER: "amqps://"}, "the same behind TLS"),
    Parts("TLS", {_REDIS: "rediss://"}, "one Redis behind TLS"),
    Parts("sentinel", {_REDIS: "redis+sentinel://"}, "the master that a sentinel names"),
    Parts("sentinel with TLS", {_REDIS: "rediss+sentinel://"}, "the same; sentinel and master are behind TLS"),
    Parts(
        "all apart",
        {_REDIS: "redis+sentinel://", _CONTROL: "redis://", _BROKER: "amqp://"},
        "memories in the master that a sentinel names, jobs in a Redis without search, RabbitMQ as the broker",
    ),
)
