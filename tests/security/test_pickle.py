"""Nothing is unpickled: no task, reply, event or command, and no value that lies in Redis."""

from __future__ import annotations

import ast
import base64
import json
import pickle
from pathlib import Path

import pytest
import redis
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads, prepare_accept_content

from emendo_config import Keys
from emendo_config.celery_app import create_app
from emendo_config.queues import QUEUES
from tests.support.broker_attacks import task_message
from tests.support.intake import added, drain_all
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("config", "api_client", "workers", "ops")
# Modules whose readers run code, or may.
READERS = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "jsonpickle",
    "marshal",
    "shelve",
    "yaml",
    "dbm",
}
KINDS = ("application/x-python-serialize", "pickle")


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.path,)


@pytest.fixture
def exploded(tmp_path) -> Path:
    return tmp_path / "exploded"


@pytest.fixture
def bomb(exploded) -> bytes:
    made = pickle.dumps(Bomb(exploded))
    pickle.loads(made)
    assert exploded.exists(), "the bomb works"
    exploded.unlink()
    return made


def messages(bomb: bytes) -> list[str]:
    """The bomb in place of a task's body, however a message may name its form."""
    found = []
    for kind in KINDS:
        for encoding in ("binary", "base64", "utf-8"):
            message = task_message() | {"content-type": kind, "content-encoding": encoding}
            found.append(json.dumps(message | {"body": base64.b64encode(bomb).decode()}))
            headers = message["headers"] | {"compression": "application/x-gzip", "serializer": "pickle"}
            found.append(json.dumps(message | {"body": base64.b64encode(bomb).decode(), "headers": headers}))
    return found


def test_a_worker_runs_no_pickle_of_a_queue_or_of_the_control_channel(emendo_worker, emendo_client, bomb, exploded):
    prefix = emendo_worker.key_prefix
    with redis.Redis.from_url(emendo_worker.broker_url) as broker:
        for message in messages(bomb):
            for queue in QUEUES:
                broker.lpush(f"{prefix}{queue}", message)
            broker.publish(f"{prefix}/1.celery.pidbox", message)
            broker.publish(f"{prefix}/1.celeryev", message)
        # Jobs of each kind still run: their wake-ups lie behind those messages.
        assert emendo_client.add("I like fish.", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
        batch = emendo_client.batch_add([{"messages": "I like rice.", "user_id": "ana"}], infer=False)
        assert batch.wait(PATIENCE).status == "succeeded"
        left = [queue for queue in ("interactive", "bulk") if broker.llen(f"{prefix}{queue}")]
        assert left == []
    assert not exploded.exists()


def test_the_app_takes_and_sends_json_only(emendo_settings):
    with create_app(emendo_settings) as app:
        conf = app.conf
        assert (list(conf.accept_content), conf.result_accept_content, conf.result_backend) == (["json"], None, None)
        assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}
        assert app.control.mailbox.accept == ["json"]
        with app.connection_for_read() as connection:
            assert app.events.Receiver(connection, handlers={}).accept == {"json"}


def test_no_event_is_unpickled(emendo_settings, bomb, exploded):
    """Flower reads the events of workers."""
    with create_app(emendo_settings) as app, app.connection_for_read() as connection:
        accepted = app.events.Receiver(connection, handlers={}).accept
    for kind in KINDS:
        with pytest.raises(ContentDisallowed):
            loads(bomb, kind, "binary", accept=prepare_accept_content(accepted))
    assert not exploded.exists()


def test_no_reply_is_unpickled(emendo_settings, bomb, exploded):
    """Flower and commands read the replies to commands."""
    with create_app(emendo_settings) as app, app.connection_for_write() as connection:
        mailbox = app.control.mailbox(connection)
        with connection.Consumer([mailbox.reply_queue], accept=mailbox.accept):
            producer = connection.Producer(exchange=mailbox.reply_exchange)
            producer.publish(bomb, routing_key=mailbox.oid, content_type=KINDS[0], content_encoding="binary")
            with pytest.raises(ContentDisallowed):
                connection.drain_events(timeout=10)
    assert not exploded.exists()


def test_what_lies_in_redis_is_not_unpickled(services, client, settings, bomb, exploded):
    """A pickle in place of every value of a store, then every read, and a worker's own."""
    memory_id = added(services, client)
    job = client.update(memory_id, "I like fish.")
    drain_all(services)
    keys: Keys = services.keys
    waiting = client.update(memory_id, "I like rice.")
    with services.data.pipeline() as pipeline:
        for name in list(services.data.scan_iter(match=f"{settings.key_prefix}*", count=1_000)):
            kind = services.data.type(name)
            if kind == b"string":
                pipeline.set(name, bomb, keepttl=True)
            elif kind == b"hash" and name != keys.spaces.encode():
                for field in services.data.hkeys(name):
                    pipeline.hset(name, field, bomb)
        pipeline.execute()
    calls = [
        lambda: client.get(memory_id),
        lambda: client.history(memory_id),
        lambda: client.diagnose(memory_id),
        lambda: client.get_all(user_id="ana"),
        lambda: client.search("fish", user_id="ana"),
        lambda: client.job(job.id).wait(0.1),
        lambda: client.job(waiting.id).info(),
        client.jobs,
        client.conflicts,
        client.dead_letters,
        client.project_rules,
        client.migration,
        lambda: drain_all(services),
    ]
    failed = 0
    for call in calls:
        try:
            call()
        except Exception:  # noqa: BLE001  # what is damaged may be refused; it must not be run
            failed += 1
    assert failed, "nothing noticed the damage"
    assert not exploded.exists()
    services.data.unlink(*services.data.scan_iter(match=f"{settings.key_prefix}*", count=1_000))


def test_no_module_of_emendo_can_read_a_form_that_runs_code():
    found = {}
    for path in [path for source in SOURCES for path in (ROOT / source).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if READERS & {name.partition(".")[0] for name in names}:
                found[path.name] = names
    assert found == {}
