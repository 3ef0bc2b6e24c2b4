"""Every scheme that the settings accept reaches the library that speaks it, and what would be misread is refused."""

from __future__ import annotations

import pytest
from kombu.transport.pyamqp import Transport as AMQPTransport

from emendo_client.testing.ports import LOOPBACK
from emendo_config import ConfigurationError, Settings
from emendo_config.celery_app import create_app
from emendo_config.queues import QUEUES
from emendo_config.store.connections import connect, connect_async, connect_listening, connect_listening_async


def test_a_unix_socket_has_its_broker_beside_it(tmp_path):
    settings = Settings(redis_url="unix://u:p%3Bw@/run/a%20b/redis.sock?db=0")
    assert settings.broker_url == "redis+socket://u:p%3Bw@/run/a%20b/redis.sock?virtual_host=1"
    parted = Settings(redis_url="unix://u:p;w@/run/a;b/redis.sock")  # kombu takes a ; for the end of a URL
    assert parted.broker_url == "redis+socket://u:p%3Bw@/run/a%3Bb/redis.sock?virtual_host=1"
    given = Settings(redis_url="redis://h/0", broker_url="unix:///run/redis.sock?db=4")
    assert create_app(given).conf.broker_url == "redis+socket:///run/redis.sock?virtual_host=4"
    assert set(create_app(given).amqp.queues) == set(QUEUES), "the key prefix is before each key of a Redis broker"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis_url", "unix://run/redis.sock"),
        ("broker_url", "redis+socket:///run/redis.sock?db=1"),
        ("broker_url", "rediss+socket:///run/redis.sock"),
        ("broker_url", "unix:///run/redis.sock?socket_timeout=1"),
    ],
)
def test_what_would_be_misread_is_refused(name, url):
    with pytest.raises(ConfigurationError, match=f"EMENDO_{name.upper()} cannot be used"):
        Settings(**{"redis_url": "redis://h/0", name: url})


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_an_amqp_broker_gets_kombus_transport(scheme):
    """Nothing listens there: a caller that only sends is told at once."""
    settings = Settings(redis_url="redis://h/0", broker_url=f"{scheme}://guest:guest@{LOOPBACK}:1//")
    app = create_app(settings, only_sends=True)
    with app.connection_for_write() as connection:
        assert isinstance(connection.transport, AMQPTransport)
        with pytest.raises(OSError, match="refused"):
            connection.connect()


@pytest.mark.parametrize("make", [connect, connect_async, connect_listening, connect_listening_async])
@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0",
        "rediss://h/0",
        "unix:///run/redis.sock",
        "redis+sentinel://h/memories/0",
        "rediss+sentinel://h/memories/0",
    ],
)
def test_whatever_the_way_to_redis_a_call_has_the_time_of_the_settings(make, url):
    settings = Settings(redis_url=url, redis_timeout=1.5, strong_timeout=1.0, redis_max_connections=7)
    pool = make(url, settings).connection_pool
    made = pool.connection_class(**pool.connection_kwargs)
    assert (made.socket_timeout, made.socket_connect_timeout, pool.max_connections) == (1.5, 1.5, 7)
