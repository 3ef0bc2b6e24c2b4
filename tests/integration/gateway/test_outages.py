"""The gateway's log has one line for a lost Redis and one for its return, however many requests are refused."""

from __future__ import annotations

import asyncio

import pytest

from emendo_client.errors import NetworkError
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.ports import free_port
from emendo_config import Settings
from emendo_gateway import outages
from emendo_gateway.app import create_app
from tests.integration.gateway.conftest import problem
from tests.support.gateway import browser
from tests.support.patience import until

LOST, BACK = "requests are refused: ", "Redis is back"
JOBS = "/api/v1/jobs"


@pytest.mark.parametrize("is_refused", [False, True], ids=["away", "refuses the login"])
def test_an_outage_is_told_once_and_its_end_once(tmp_path, monkeypatch, caplog, is_refused):
    monkeypatch.setattr(outages, "PAUSE", 0.05)
    port = free_port()
    server = EmbeddedRedis(tmp_path / "redis", port, password="swordfish")
    other = EmbeddedRedis(tmp_path / "other", port, password="another")
    code = "REDIS_LOGIN_REFUSED" if is_refused else "NETWORK"

    def told() -> list[str]:
        return [line for line in caplog.messages if line.startswith((LOST, BACK))]

    try:
        with browser(Settings(redis_url=server.url), auth="off") as http:
            for outage in (1, 2):
                if is_refused:
                    other.start()
                for _ in range(3):
                    problem(http.get(JOBS), 503, code)
                assert len(told()) == 2 * outage - 1
                other.kill()
                server.start()
                until(lambda count=2 * outage: len(told()) == count, caplog.text)
                assert http.get(JOBS).status_code == 200
                assert http.get(f"{JOBS}/none").status_code == 404
                server.kill()
    finally:
        server.kill()
        other.kill()
    assert [line.startswith(LOST) for line in told()] == [True, False, True, False]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "swordfish" not in caplog.text
    assert str(port) not in caplog.text


async def test_nobody_looks_for_redis_once_the_gateway_has_ended():
    app = create_app(Settings())
    async with app.router.lifespan_context(app):
        app.state.gateway.outages.notice(NetworkError("away"))
        assert len(asyncio.all_tasks()) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
