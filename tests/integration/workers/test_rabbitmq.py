"""RabbitMQ as the broker: it dies in the middle, under a running task, and two installations share one."""

from __future__ import annotations

import threading
import uuid

import pytest
from kombu import Connection

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys
from emendo_config.celery_app import create_app
from emendo_config.queues import names_at_broker
from emendo_config.store.connections import connect
from tests.support.inferring import chat_at
from tests.support.patience import PATIENCE, until

pytestmark = pytest.mark.slow  # real processes


def installation(emendo_redis, openai_server, rabbitmq, **more):
    """Settings of an installation with queues of its own. Only wake-ups start its jobs: the sweeper comes too late."""
    prefix = f"amqp-{uuid.uuid4().hex[:8]}:"
    more = {"sweep_interval": 600.0, "lease": 900.0, **more}
    return settings_for(emendo_redis.url, openai_server.base_url, broker_url=rabbitmq.url, key_prefix=prefix, **more)


def added(client: MemoryClient, text: str) -> str:
    return client.add(text, "ana", infer=False).wait(PATIENCE, raise_on_failure=True).results[0].memory_id


def test_no_job_is_lost_when_the_broker_dies_and_comes_back(emendo_redis, openai_server, rabbitmq, tmp_path):
    settings = installation(emendo_redis, openai_server, rabbitmq, sweep_interval=0.2, lease=2.0)
    with WorkerProcess(settings, tmp_path / "worker.log") as worker, MemoryClient(settings) as client:
        memory_id = added(client, "version 1")
        before = [client.update(memory_id, f"version {number}") for number in range(2, 12)]
        rabbitmq.kill()
        try:
            during = [client.update(memory_id, f"version {number}") for number in range(12, 22)]
        finally:
            rabbitmq.start()
        after = [client.update(memory_id, f"version {number}") for number in range(22, 32)]
        assert [job.wait(PATIENCE).status for job in (*before, *during, *after)] == ["succeeded"] * 30
        assert [entry.new_memory for entry in client.history(memory_id)] == [f"version {n}" for n in range(1, 32)]
        assert client.health().dead == 0
        assert worker.is_alive, "a worker outlives its broker"


def test_a_worker_with_a_task_under_way_reads_on_when_the_broker_is_back(
    emendo_redis, openai_server, rabbitmq, model, tmp_path
):
    """Without the sweeper's help. Celery raised its prefetch count from the task's thread, which stopped the worker."""
    settings = installation(
        emendo_redis,
        openai_server,
        rabbitmq,
        **chat_at(openai_server),
    )
    begun, may_end = threading.Event(), threading.Event()

    def hold(_) -> None:
        begun.set()
        may_end.wait(PATIENCE)

    model.before = hold
    with (
        WorkerProcess(settings, tmp_path / "worker.log"),
        MemoryClient(settings) as client,
        connect(settings.control_url, settings) as control,
    ):
        memory_id = added(client, "with the first broker")
        under_way = client.add("Begun before.", "ana")
        try:
            assert begun.wait(PATIENCE)
            rabbitmq.kill()
            rabbitmq.start()
            with create_app(settings) as app, app.connection_for_write() as connection:
                until(lambda: app.control.ping(timeout=2, limit=1, connection=connection))
        finally:
            may_end.set()
        under_way.wait(PATIENCE, raise_on_failure=True)
        client.update(memory_id, "notices that the connection is gone")
        # Until then a wake-up is taken for sent.
        until(lambda: not list(control.scan_iter(Keys(settings.key_prefix).wakeup("*"))))
        for number in range(20):
            client.update(memory_id, f"wakes the worker {number}").wait(PATIENCE, raise_on_failure=True)
    said = (tmp_path / "worker.log").read_text()
    assert said.count("Connection to broker lost") == 1
    assert "reducing the prefetch count" not in said, "the task's thread raises it again"


def test_two_installations_share_a_broker_and_no_queue(emendo_redis, openai_server, rabbitmq, tmp_path):
    one, two = (installation(emendo_redis, openai_server, rabbitmq) for _ in range(2))
    queue = names_at_broker(two.broker_url, two.key_prefix)["interactive"]
    with (
        WorkerProcess(one, tmp_path / "one.log"),
        MemoryClient(one) as client,
        MemoryClient(two) as other,
        create_app(two) as app,
    ):
        job = other.add("waits for its own worker", "ana", infer=False)
        added(client, "with the first worker")
        assert waiting(app, queue) == 1, "the first worker took a wake-up of the other installation"
        assert app.control.ping(timeout=1) == [], "the first worker heard a question to the others"
        assert job.status() == "queued"
        with WorkerProcess(two, tmp_path / "two.log"):
            job.wait(PATIENCE, raise_on_failure=True)
            assert len(app.control.ping(timeout=10, limit=2)) == 1
            assert waiting(app, queue) == 0
        assert [each.memory for each in client.get_all("ana").results] == ["with the first worker"]


def waiting(app, queue: str) -> int:
    """The messages in a queue that exists."""
    connection: Connection
    with app.connection_for_read() as connection:
        return connection.default_channel.queue_declare(queue, passive=True).message_count
