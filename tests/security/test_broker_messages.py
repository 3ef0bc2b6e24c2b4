"""Malformed messages of queues and of the control channel: the worker drops them, says so, and goes on."""

from __future__ import annotations

import base64
import json
import uuid
from urllib.parse import urlsplit

import pytest
import redis
from kombu.message import Message

from emendo_client import MemoryClient
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings
from emendo_config.celery_app import HOUSEKEEPING_TASK, create_app
from emendo_config.shards import is_configured, shard_name, shards_of
from emendo_workers.runtime.task_messages import MalformedMessageError, checked_envelope, make_safe, read_message
from tests.support.broker_attacks import (
    COMMANDS_THAT_CHANGE,
    CONTROL_VALUES,
    QUEUE_VALUES,
    SECRET,
    control_message,
    task_message,
)
from tests.support.patience import PATIENCE, until

# Their wrong part is left out; the drain refuses the shards.
_MADE_HARMLESS = (
    "an expiry at the end of time",
    "time limit",
    "time limits",
    "a huge priority",
    "delivery information of another type",
    "an unknown shard",
    "a shard of no queue",
)


@pytest.fixture
def broker(emendo_worker):
    with redis.Redis.from_url(emendo_worker.broker_url) as connection:
        yield connection


@pytest.fixture
def alive(emendo_worker, emendo_client, broker):
    """Checks that the same worker still works, and that the broker is empty: a job after all the messages is done."""

    def workers():
        return set(broker.zrange(Keys(emendo_worker.key_prefix).workers, 0, -1))

    before = workers()

    def check() -> None:
        assert (
            emendo_client.add(f"fact {uuid.uuid4()}", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
        )
        until(lambda: not broker.llen(f"{emendo_worker.key_prefix}interactive"))
        until(lambda: not broker.hlen(f"{emendo_worker.key_prefix}unacked"))
        assert workers() == before

    return check


def control_channel(settings) -> str:
    database = urlsplit(settings.broker_url).path.removeprefix("/") or "0"
    return f"{settings.key_prefix}/{database}.celery.pidbox"


def test_no_value_of_a_queue_ends_the_worker(emendo_worker, broker, alive):
    for value in QUEUE_VALUES.values():
        broker.lpush(f"{emendo_worker.key_prefix}interactive", value)
    alive()
    names = [name.decode() for name in broker.scan_iter(f"{emendo_worker.key_prefix}inbox:*", count=1_000)]
    assert all(is_configured(name.partition("inbox:")[2], emendo_worker) for name in names), names


def test_no_message_of_the_control_channel_ends_the_worker(emendo_worker, broker, alive):
    for value in [*QUEUE_VALUES.values(), *CONTROL_VALUES.values()]:
        assert broker.publish(control_channel(emendo_worker), value) >= 1
    alive()
    app = create_app(emendo_worker)
    assert len(app.control.ping(timeout=PATIENCE, limit=1)) == 1, "it still answers"
    app.close()


def test_a_worker_obeys_no_command_that_changes_it(emendo_worker, broker, alive):
    app = create_app(emendo_worker)
    (stats,) = app.control.broadcast("stats", reply=True, timeout=PATIENCE, limit=1)
    for method, arguments in COMMANDS_THAT_CHANGE.items():
        body = {"method": method, "arguments": arguments, "destination": None}
        assert broker.publish(control_channel(emendo_worker), control_message(body)) >= 1
    alive()
    (after,) = app.control.broadcast("stats", reply=True, timeout=PATIENCE, limit=1)
    (worker,) = stats
    assert after[worker]["pool"]["max-concurrency"] == stats[worker]["pool"]["max-concurrency"]
    (queues,) = app.control.broadcast("active_queues", reply=True, timeout=PATIENCE, limit=1)
    assert {queue["name"] for queue in queues[worker]} == {"interactive", "inference", "bulk", "maintenance"}
    app.close()


def test_commands_that_read_tell_nothing_of_the_brokers_login(emendo_worker):
    app = create_app(emendo_worker)
    for method in ("stats", "conf"):
        (reply,) = app.control.broadcast(method, reply=True, timeout=PATIENCE, limit=1)
        (told,) = reply.values()
        assert told.keys().isdisjoint({"broker_url", "broker_transport_options", "broker_use_ssl"})
        assert told.get("broker", {}).keys() <= {"hostname", "port", "transport", "virtual_host", "heartbeat"}
        assert "task_time_limit" in told or "pool" in told, "it did answer"
    app.close()


def test_what_was_under_way_and_is_no_message_is_forgotten(emendo_worker, broker, alive):
    unacked, index = (f"{emendo_worker.key_prefix}{name}" for name in ("unacked", "unacked_index"))
    for tag, value in enumerate([*QUEUE_VALUES.values(), json.dumps([task_message(), 5, None])]):
        broker.hset(unacked, f"old-{tag}", value)
        broker.zadd(index, {f"old-{tag}": 1})
    until(lambda: not broker.hlen(unacked))
    alive()


@pytest.mark.parametrize("name", ["unacked", "unacked_index", "bulk", "inference\x06\x163"])
def test_a_key_of_the_transport_that_holds_another_type_stops_no_queue(emendo_worker, broker, alive, name):
    key = f"{emendo_worker.key_prefix}{name}"
    broker.delete(key)
    broker.set(key, SECRET)
    alive()
    until(lambda: broker.type(key) != b"string")


@pytest.mark.parametrize("name", QUEUE_VALUES)
def test_each_such_value_is_refused_or_loses_what_is_wrong_before_celery_sees_it(name):
    refusal = ""
    try:
        message = message_of(checked_envelope(read_message(QUEUE_VALUES[name])))
        make_safe(message)
    except MalformedMessageError as problem:
        refusal = str(problem)
    assert bool(refusal) == (name not in _MADE_HARMLESS)
    assert SECRET not in (refusal or repr(vars(message)))


def message_of(envelope) -> Message:
    """The message that kombu makes of it; that of AMQP has the same attributes."""
    return Message(
        body=base64.b64decode(envelope["body"]),
        content_type=envelope["content-type"],
        content_encoding=envelope["content-encoding"],
        headers=envelope["headers"],
        properties=envelope["properties"],
    )


def test_a_message_of_emendo_passes_with_its_task_argument_and_expiry_alone():
    more = {
        "expires": "2030-01-01T00:00:00+00:00",
        "retries": 7,
        "shadow": "x",
        "origin": SECRET,
        "traceparent": SECRET,
    }
    made = message_of(checked_envelope(task_message(["inference-i3"], headers=more)))
    made.properties["reply_to"] = SECRET
    make_safe(made)
    assert json.loads(made.body)[0] == ["inference-i3"]
    assert made.headers["expires"] == more["expires"]
    assert made.headers["retries"] == 0
    assert SECRET not in repr(vars(made))


def test_a_compressed_message_is_refused_before_kombu_unpacks_it():
    with pytest.raises(MalformedMessageError):
        checked_envelope(read_message(QUEUE_VALUES["compressed"]))


@pytest.mark.parametrize("message", [None, 5, "text", []])
def test_a_message_of_amqp_without_headers_is_refused(message):
    made = Message(body=b"[]", content_type="application/json", content_encoding="utf-8")
    made.headers = message
    with pytest.raises(MalformedMessageError):
        make_safe(made)


def test_the_shards_of_the_settings_are_known():
    settings = Settings(inbox_shards=4, bulk_shards=2)
    known = [shard_name(queue, n, settings) for queue in ("interactive", "bulk", "inference") for n in range(2)]
    assert all(is_configured(name, settings) for name in [*known, "inference-i0", "maintenance-migration"])
    beyond = ["4", "-1", "01", "٣", "bulk-2", "bulk-i0", "interactive-0", "secrets-0", "", "inference-", "9" * 9]
    assert not any(is_configured(name, settings) for name in beyond)
    assert is_configured(str(shards_of("interactive", settings) - 1), settings)


@pytest.mark.slow
def test_a_worker_says_what_it_dropped_without_a_word_of_it(emendo_settings, openai_server, tmp_path):
    settings = emendo_settings.model_copy(update={"log_level": "DEBUG"})
    log = tmp_path / "worker.log"
    with (
        WorkerProcess(settings, log) as worker,
        redis.Redis.from_url(settings.broker_url) as broker,
        MemoryClient(settings) as client,
    ):
        broker.set(f"{settings.key_prefix}bulk", SECRET)  # a queue that is no list
        for value in QUEUE_VALUES.values():
            broker.lpush(f"{settings.key_prefix}interactive", value)
            broker.publish(control_channel(settings), value)
        for value in CONTROL_VALUES.values():
            broker.publish(control_channel(settings), value)
        broker.sadd(f"{settings.key_prefix}_kombu.binding.reply.celery.pidbox", SECRET)  # no binding
        app = create_app(settings)
        assert app.control.ping(timeout=0.1) == []
        until(lambda: "cannot be answered" in log.read_text())
        broker.delete(f"{settings.key_prefix}_kombu.binding.reply.celery.pidbox")
        app.send_task(HOUSEKEEPING_TASK)
        app.close()
        assert client.add("hello", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
        until(lambda: client.health().housekeeping_seconds is not None)
        until(lambda: not broker.llen(f"{settings.key_prefix}interactive"))
        assert worker.is_alive
    written = log.read_text()
    assert SECRET not in written
    assert "Traceback" not in written
    assert written.count("malformed and was dropped") >= len(QUEUE_VALUES) - len(_MADE_HARMLESS)


@pytest.mark.slow
def test_a_worker_that_is_told_so_obeys_all_commands(emendo_settings, openai_server, tmp_path):
    settings = emendo_settings.model_copy(update={"remote_control": "all"})
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        app = create_app(settings)
        app.control.shutdown()
        until(lambda: not worker.is_alive)
        app.close()
