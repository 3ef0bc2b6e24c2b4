"""Flower beside a broker that is not there yet, goes away, and comes back."""

from __future__ import annotations

import json

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_ops.dashboard import events
from emendo_ops.dashboard.events import PAUSE, BrokerEvents
from tests.support.dashboards import flower_process
from tests.support.patience import until

LOST, BACK = "no events come", "the broker is back"


@pytest.mark.slow
def test_tasks_are_listed_once_the_broker_comes_and_comes_again(tmp_path):
    server = EmbeddedRedis(tmp_path / "redis", free_port(), appendfsync="always", password="")
    settings = Settings(redis_url=server.url)
    log = tmp_path / "flower.log"

    def told(words: str) -> int:
        return log.read_text().count(words)

    def shown(job_id: str) -> bool:
        answer = flower.ask(f"/api/task/info/{job_id}")
        return answer.status == 200 and json.loads(answer.body)["state"] == "SUCCESS"

    with flower_process(settings, tmp_path, log) as flower:
        until(lambda: told(LOST) == 1)
        try:
            server.start()
            until(lambda: told(BACK) == 1, log.read_text)
            with WorkerProcess(settings, tmp_path / "worker.log"), MemoryClient(settings) as client:
                until(lambda: "test-" in flower.ask("/workers?json=1").body, "the worker is not shown")
                job = client.add("before", user_id="ana", infer=False)
                until(lambda: shown(job.id), log.read_text)
                server.kill()
                until(lambda: told(LOST) == 2, log.read_text)
                server.start()
                until(lambda: told(BACK) == 2, log.read_text)
                job = client.add("after", user_id="ana", infer=False)
                until(lambda: shown(job.id), log.read_text)
                # Of requests on connections of before.
                assert "failed:" not in log.read_text().rpartition(BACK)[2], log.read_text()
        finally:
            server.stop()
        until(lambda: told(LOST) == 3, log.read_text)
    assert (told(LOST), told(BACK)) == (3, 2), log.read_text()
    assert told("Traceback") == 0, log.read_text()


def test_the_pauses_between_two_looks_for_the_broker_do_not_grow(monkeypatch, caplog):
    class Enough(BaseException):
        pass

    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            raise Enough

    monkeypatch.setattr(events, "sleep", sleep)
    # Nobody listens at port 1.
    settings = Settings(redis_url=f"redis://{LOOPBACK}:1/0", broker_timeout=0.01)
    with create_app(settings) as app, pytest.raises(Enough):
        BrokerEvents(app, None, max_tasks_in_memory=10, max_workers_in_memory=10).run()
    assert pauses == [PAUSE] * 10
    assert [LOST in line for line in caplog.messages] == [True]


@pytest.mark.slow
def test_a_probe_without_the_login_is_no_event_and_a_wrong_login_is_one(emendo_settings, tmp_path):
    log = tmp_path / "flower.log"
    with flower_process(emendo_settings, tmp_path, log) as flower:
        assert flower.ask("/healthcheck", login=None).status == 401
        assert flower.ask("/healthcheck", login="emendo:guessed").status == 401
        assert flower.ask("/healthcheck").body == "OK"
    lines = [line for line in log.read_text().splitlines() if "401" in line]
    assert len(lines) == 1, lines
    assert "guessed" not in lines[0]
