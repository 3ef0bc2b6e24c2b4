"""The ways to Redis and to the broker that a whole stack is tried with."""

from __future__ import annotations

# The scheme that the test knows, the settings' URLs, and what stands behind them.
SCHEMES = {
    "redis": ("`redis://`", "Redis at a port, with a password"),
    "unix": ("`unix://`", "Redis at a unix socket"),
    "unix broker": ("`unix://` for `EMENDO_BROKER_URL` and `EMENDO_CONTROL_URL`", "three databases of one socket"),
    "amqp broker": ("`amqp://` for `EMENDO_BROKER_URL`", "RabbitMQ 3.10; also killed and started again"),
    "rediss": ("`rediss://`", "Redis behind TLS"),
    "redis+sentinel": ("`redis+sentinel://`", "the master that a sentinel names"),
    "rediss+sentinel": ("`rediss+sentinel://`", "the same, all of it behind TLS"),
}
