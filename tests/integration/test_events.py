"""Flower lists single jobs: their Celery events carry their own ids and names, and no content."""

from __future__ import annotations

import threading
import time

from emendo_config.celery_app import create_app


def test_each_job_sends_its_own_events(emendo_client, emendo_worker):
    app = create_app(emendo_worker)
    seen: list[dict] = []
    texts = ("a very private sentence", "an even more private one")
    receivers = []

    def listen() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": seen.append})
            receivers.append(receiver)
            receiver.capture(limit=None, timeout=None, wakeup=True)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        _until(lambda: any(event["type"] == "worker-heartbeat" for event in seen))
        job = emendo_client.add(texts[0], user_id="ana", infer=False)
        memory_id = job.wait().results[0].memory_id
        update = emendo_client.update(memory_id, texts[1])
        update.wait(raise_on_failure=True)
        missing = emendo_client.update("no-such-memory", texts[1])
        missing.wait()
        _until(lambda: any(event.get("uuid") == missing.id and event["type"] == "task-failed" for event in seen))
    finally:
        receivers[0].should_stop = True
        thread.join()
    kinds = {
        each.id: [event["type"] for event in seen if event.get("uuid") == each.id] for each in (job, update, missing)
    }
    assert kinds[job.id] == kinds[update.id] == ["task-received", "task-started", "task-succeeded"]
    assert kinds[missing.id] == ["task-received", "task-started", "task-failed"]
    names = {event["uuid"]: event["name"] for event in seen if event["type"] == "task-received" and "uuid" in event}
    assert (names[job.id], names[update.id]) == ("emendo.add", "emendo.update")
    assert not any(text in str(seen) for text in texts)


def _until(condition, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        threading.Event().wait(0.02)
