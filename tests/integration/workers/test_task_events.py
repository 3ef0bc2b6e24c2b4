"""Flower lists single jobs: their Celery events carry their own ids and names, and no content."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

from emendo_client.exchanges import jobs
from emendo_config import Keys
from emendo_config.celery_app import create_app
from emendo_workers.runtime.task_events import JobEvents
from tests.support.patience import PATIENCE, until


@contextmanager
def listening(settings):
    """The events the broker carries while the block runs, in their order."""
    app = create_app(settings)
    seen: list[dict] = []
    receivers = []

    def listen() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": seen.append})
            receivers.append(receiver)
            receiver.capture(limit=None, timeout=None, wakeup=True)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        until(lambda: any(event["type"] == "worker-heartbeat" for event in seen))
        yield seen
    finally:
        receivers[0].should_stop = True
        thread.join()


def kinds_of(seen: list[dict], uuid: str) -> list[str]:
    return [event["type"] for event in seen if event.get("uuid") == uuid]


def test_each_job_sends_its_own_events(emendo_client, emendo_worker):
    texts = ("a very private sentence", "an even more private one")
    with listening(emendo_worker) as seen:
        job = emendo_client.add(texts[0], user_id="ana", infer=False)
        memory_id = job.wait().results[0].memory_id
        update = emendo_client.update(memory_id, texts[1])
        update.wait(raise_on_failure=True)
        missing = emendo_client.update("no-such-memory", texts[1])
        missing.wait()
        until(lambda: "task-failed" in kinds_of(seen, missing.id))
    for each in (job, update):
        assert kinds_of(seen, each.id) == ["task-received", "task-started", "task-succeeded"]
    assert kinds_of(seen, missing.id) == ["task-received", "task-started", "task-failed"]
    names = {event["uuid"]: event["name"] for event in seen if event["type"] == "task-received" and "uuid" in event}
    assert (names[job.id], names[update.id]) == ("emendo.add", "emendo.update")
    assert not any(text in str(seen) for text in texts)
    results = {event["uuid"]: event["result"] for event in seen if event["type"] == "task-succeeded"}
    for done, name, version in ((job, "add", 1), (update, "update", 2)):
        assert re.fullmatch(rf"'{name} {memory_id[:8]} v{version} in \d+ ms'", results[done.id])


def test_a_batch_and_its_chunks_send_events_without_any_text(emendo_client, emendo_worker):
    emendo_client.settings = emendo_worker.model_copy(update={"chunk_items": 2})
    secret = "a very private sentence"
    with listening(emendo_worker) as seen:
        items = [{"messages": f"{secret} {n}", "user_id": secret, "metadata": {secret: secret}} for n in range(3)]
        job = emendo_client.batch_add(items, infer=False)
        job.wait(raise_on_failure=True)
        missing = emendo_client.batch_update([{"memory_id": "no-such-memory", "text": secret}, {"text": secret}])
        missing.wait()
        added = (job.id, f"{job.id}:0", f"{job.id}:1")
        until(lambda: all("task-succeeded" in kinds_of(seen, uuid) for uuid in added))
        until(lambda: "task-failed" in kinds_of(seen, missing.id))
    for uuid in added:
        assert kinds_of(seen, uuid) == ["task-received", "task-started", "task-succeeded"]
    for uuid in (missing.id, f"{missing.id}:0"):
        assert kinds_of(seen, uuid) == ["task-received", "task-started", "task-failed"]
    received = {event["uuid"]: event for event in seen if event["type"] == "task-received" and "uuid" in event}
    assert {received[uuid]["name"] for uuid in added} == {"emendo.batch_add"}
    assert [received[f"{job.id}:{n}"]["parent_id"] for n in range(2)] == [job.id] * 2
    assert "parent_id" not in received[job.id]
    assert secret not in str(seen)
    results = {event["uuid"]: event["result"] for event in seen if event["type"] == "task-succeeded"}
    assert results[job.id] == "'succeeded'"
    assert re.fullmatch(r"'batch_add 2 changes in \d+ ms'", results[f"{job.id}:0"])


def test_a_cancelled_batch_is_shown_as_revoked(emendo_client, emendo_worker):
    emendo_client.settings = emendo_worker.model_copy(update={"chunk_items": 1})
    held = Keys(emendo_worker.key_prefix).lock("held")
    emendo_client._connections.data.set(held, "another worker", px=60_000)
    with listening(emendo_worker) as seen:
        job = emendo_client.batch_update([{"memory_id": "held", "text": f"text {n}"} for n in range(2)])
        assert emendo_client._run(jobs.cancel(emendo_worker, emendo_client._keys, emendo_client.project, job.id))
        emendo_client._connections.data.delete(held)
        assert job.wait(PATIENCE).status == "cancelled"
        until(lambda: "task-revoked" in kinds_of(seen, job.id))
    assert "task-succeeded" not in kinds_of(seen, job.id)


def test_one_thread_sends_for_all_and_nobody_waits_for_it(monkeypatch, emendo_settings):
    events = JobEvents(create_app(emendo_settings), enabled=True)
    sent, began, go = [], threading.Event(), threading.Event()

    def publish(some, hostname):
        began.set()
        assert go.wait(PATIENCE)
        sent.append([event["uuid"] for event in some])

    monkeypatch.setattr(events, "_publish", publish)
    first = threading.Thread(target=events._send, args=([{"type": "task-started", "uuid": "0"}], "here"))
    first.start()
    assert began.wait(PATIENCE)
    for number in range(1, 4):  # each returns, though the broker is still taking the first one's
        events._send([{"type": "task-started", "uuid": str(number)}], "here")
    assert sent == []
    go.set()
    first.join()
    assert sent == [["0"], ["1", "2", "3"]]


def test_of_events_a_slow_broker_does_not_take_the_oldest_are_dropped(monkeypatch, emendo_settings):
    monkeypatch.setattr("emendo_workers.runtime.task_events.MAX_WAITING", 3)
    events = JobEvents(create_app(emendo_settings), enabled=True)
    sent = []
    monkeypatch.setattr(events, "_publish", lambda some, hostname: sent.extend(event["uuid"] for event in some))
    for number in range(5):
        events._send([{"type": "task-started", "uuid": str(number)}], "here", flush=False)
    events._send([{"type": "task-started", "uuid": "5"}], "here")
    assert sent == ["3", "4", "5"]
