"""A worker that is asked to stop finishes what it has, takes nothing more, and signs off: docs/how-to/upgrade.md."""

from __future__ import annotations

import json
import signal
import threading

import pytest
from kombu import Connection, Queue

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess, environment
from emendo_workers.runtime import broker_transport
from tests.support.inferring import Model, chat_at
from tests.support.intake import added, drain, reconfigure, shard_of_job, wakeup_of
from tests.support.own_process import EMENDO, OwnProcess
from tests.support.patience import LONG_PATIENCE, PATIENCE, until

# A worker writes it whenever it gets a signal.
SAID = "the worker takes no more jobs"


def test_a_stopping_worker_finishes_its_jobs_and_signs_off(emendo_redis, openai_server, tmp_path):
    settings = settings_for(emendo_redis.url, openai_server.base_url)
    worker = WorkerProcess(settings, tmp_path / "worker.log").start()
    with MemoryClient(settings) as client:
        openai_server.latency_ms = 500
        job = client.add("hello", user_id="ana", infer=False)
        while job.status() == "queued":
            assert worker.pid
        worker.stop()
        assert job.status() == "succeeded"
        assert client.health().workers == 0


def test_a_worker_that_logs_json_prints_nothing_else_until_its_end(emendo_redis, openai_server, tmp_path):
    settings = settings_for(emendo_redis.url, openai_server.base_url, log_format="json")
    log = tmp_path / "worker.log"
    variables = {**environment(settings), "PYTHONWARNINGS": "ignore"}  # Celery warns of the user root
    with OwnProcess((*EMENDO, "worker"), variables, log, lambda: " ready." in log.read_text()) as worker:
        assert worker.terminate() == 0
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert "worker: Warm shutdown (MainProcess)" in events


def test_a_drain_of_a_stopping_process_gives_its_shard_up(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(3)]
    reconfigure(services, drain_batch=1)
    services.stopping.set()
    assert drain(services, jobs[0]) == 1
    assert [job.status() for job in jobs] == ["succeeded", "queued", "queued"]
    assert wakeup_of(services, shard_of_job(services, jobs[0])).startswith("rung:drain:"), "a successor is woken"


def test_a_message_of_a_read_under_way_goes_back_to_its_queue(emendo_settings):
    """Celery has left the queue, and Redis still answers the read that began before."""
    name, taken = f"{emendo_settings.key_prefix}late", []
    with (
        Connection(emendo_settings.broker_url, transport=broker_transport.Transport) as stopping,
        Connection(emendo_settings.broker_url) as other,
    ):
        channel = stopping.channel()
        with stopping.Consumer(Queue(name), channel=channel, on_message=taken.append):
            channel.connection.cycle.on_poll_start()  # as Celery's loop does
        other.SimpleQueue(name).put({})
        channel.return_unread()
        other.SimpleQueue(name).get(timeout=PATIENCE).ack()
    assert taken == []


class _Held:
    """A worker with a conversation under way, which the chat model keeps waiting, and another one behind it."""

    def __init__(self, settings, model: Model, worker: WorkerProcess, client: MemoryClient) -> None:
        begun, self._may_end = threading.Event(), threading.Event()

        def hold(_: str) -> None:
            begun.set()
            self._may_end.wait(LONG_PATIENCE)

        model.before = hold
        self.worker = worker
        self.settings = settings
        self.client = client
        self.under_way = client.add("I live in Porto.", "ana")
        assert begun.wait(PATIENCE)
        self.behind = client.add("I like tea.", "ana")

    def let_go(self) -> None:
        """The model answers from now on."""
        self._may_end.set()

    def taken_over(self, log, *others) -> None:
        """Another worker does both, and other jobs."""
        self.let_go()
        with WorkerProcess(self.settings, log):
            for job in (self.under_way, self.behind, *others):
                job.wait(PATIENCE, raise_on_failure=True)
        memories = self.client.get_all("ana").results
        assert {memory.memory: memory.version for memory in memories} == {"I live in Porto.": 1, "I like tea.": 1}


@pytest.fixture
def held(emendo_redis, openai_server, model, tmp_path):
    settings = settings_for(
        emendo_redis.url,
        openai_server.base_url,
        **chat_at(openai_server),
    )
    with WorkerProcess(settings, tmp_path / "first.log") as worker, MemoryClient(settings) as client:
        made = _Held(settings, model, worker, client)
        yield made
        made.let_go()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGTERM], 0), ([signal.SIGTERM, signal.SIGTERM], 0), ([signal.SIGINT], 1)],
    ids=["SIGTERM", "SIGTERM twice", "SIGINT"],
)
def test_it_waits_for_a_long_job_and_leaves_the_next_one(held, tmp_path, signals, code):
    log = tmp_path / "first.log"
    for number, which in enumerate(signals, 1):
        held.worker.send_signal(which)
        until(lambda number=number: log.read_text().count(SAID) == number)
    assert held.worker.is_alive
    late = held.client.add("I like rice.", "ben", infer=False)  # Celery still reads its queues
    held.let_go()
    assert held.worker.wait(PATIENCE) == code
    assert [job.status() for job in (held.under_way, held.behind, late)] == ["succeeded", "queued", "queued"]
    assert held.client.health().workers == 0
    assert "Traceback" not in log.read_text()
    held.taken_over(tmp_path / "second.log", late)


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGQUIT], [signal.SIGQUIT, signal.SIGQUIT], [signal.SIGINT] * 3],
    ids=["SIGQUIT", "SIGQUIT twice", "SIGINT thrice"],
)
def test_it_ends_with_a_long_job_under_way_which_another_worker_does(held, tmp_path, signals):
    log = tmp_path / "first.log"
    for number, which in enumerate(signals, 1):
        held.worker.send_signal(which)
        until(lambda number=number: log.read_text().count(SAID) == number or not held.worker.is_alive)
    assert held.worker.wait(PATIENCE) == 1
    assert held.under_way.status() == "running"
    assert "the worker ends with jobs under way" in log.read_text()
    assert "Traceback" not in log.read_text()
    held.taken_over(tmp_path / "second.log")


@pytest.mark.slow
def test_a_job_that_outlasts_the_stop_time_is_done_once_by_another_worker(held, tmp_path):
    """As a supervisor does it: SIGTERM, and SIGKILL when the time is over."""
    held.worker.send_signal(signal.SIGTERM)
    until(lambda: SAID in (tmp_path / "first.log").read_text())
    held.worker.kill()
    assert held.under_way.status() == "running"
    held.taken_over(tmp_path / "second.log")


@pytest.mark.slow
def test_a_re_embedding_goes_from_worker_to_worker(emendo_redis, openai_server, tmp_path):
    settings = settings_for(emendo_redis.url, openai_server.base_url, reembed_grace=0.0, chunk_items=10)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{number}.log") for number in range(2)]
    with workers[0] as first, MemoryClient(settings) as client:
        items = [{"messages": f"fact {number}", "user_id": "ana"} for number in range(400)]
        client.batch_add(items, infer=False).wait(PATIENCE, raise_on_failure=True)
        openai_server.latency_ms = 100
        job = client.reembed(dimensions=128)
        until(lambda: (found := client.migration()) and found.done)
        first.send_signal(signal.SIGTERM)
        assert first.wait(PATIENCE) == 0
        assert job.status() in ("running", "queued")
        openai_server.latency_ms = 0
        with workers[1]:
            job.wait(PATIENCE, raise_on_failure=True)
            migration = client.migration()
            assert (migration.phase, migration.failed) == ("switched", 0)
            assert len(client.search("fact 7", "ana", limit=400)) == 400
