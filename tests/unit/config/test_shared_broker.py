"""Two installations on one broker: neither reads the other's queues, whatever the broker."""

from __future__ import annotations

import pytest

from emendo_client.transport.wakeup import ShardNotifier
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.queues import QUEUES


def queues_of(broker_url: str, prefix: str) -> set[str]:
    app = create_app(Settings(broker_url=broker_url, key_prefix=prefix))
    routed = {route["queue"] for route in app.conf.task_routes.values()}
    assert {*routed, app.conf.task_default_queue} <= set(app.amqp.queues)
    exchanges = {queue.exchange.name for queue in app.amqp.queues.values()}
    return {*app.amqp.queues, *exchanges, app.conf.control_exchange, app.conf.event_exchange}


def test_no_name_at_an_amqp_broker_is_shared():
    url = "amqp://guest:guest@localhost:5672//"
    assert not queues_of(url, "one:") & queues_of(url, "two:")


@pytest.mark.parametrize("url", ["redis://localhost:6379/1", "rediss://localhost:6379/1"])
def test_the_names_at_a_redis_broker_stay_and_kombu_puts_the_prefix_before_each(url):
    app = create_app(Settings(broker_url=url, key_prefix="one:"))
    assert set(app.amqp.queues) == set(QUEUES)
    assert app.conf.broker_transport_options["global_keyprefix"] == "one:"


def test_a_wake_up_goes_to_the_queue_that_workers_read():
    settings = Settings(broker_url="memory://", key_prefix="one:")
    app = create_app(settings)
    assert ShardNotifier(settings, app).notify("bulk-1")
    with app.connection_for_read() as connection:
        assert connection.SimpleQueue(app.amqp.queues["one:bulk"]).get(timeout=5) is not None
