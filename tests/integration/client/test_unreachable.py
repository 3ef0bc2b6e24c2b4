"""Servers that do not answer: callers get an error in time, workers go on."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest
import redis
from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES
from redis.exceptions import AuthenticationError

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import NetworkError
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.store_outages import failure_of
from emendo_workers.runtime import broker_transport
from tests.support.logins import with_login
from tests.support.patience import until


@pytest.fixture
def silent():
    """A server that accepts connections and never answers, and its address."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as server:
        server.setblocking(False)
        yield server, f"redis://127.0.0.1:{server.getsockname()[1]}"


def connections_to(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_redis_that_does_not_answer_is_asked_once(emendo_settings, silent):
    server, url = silent
    away = emendo_settings.model_copy(update={"redis_url": f"{url}/0", "control_url": f"{url}/0", "redis_timeout": 0.2})
    with MemoryClient(away) as client, pytest.raises(NetworkError):
        client.update("some-memory", "text")
    assert connections_to(server) == 1, "each further attempt would take the time limit once more"


@pytest.mark.parametrize("login", [":hush", "nobody:hush"], ids=["password", "user"])
async def test_a_refused_user_or_password_is_told_from_a_redis_that_is_away(emendo_settings, cli, login):
    url = with_login(emendo_settings.redis_url, login)
    theirs = emendo_settings.model_copy(update={"redis_url": url, "control_url": url})
    with MemoryClient(theirs) as client, pytest.raises(NetworkError) as refused:
        client.jobs()
    async with AsyncMemoryClient(theirs) as client:
        with pytest.raises(NetworkError) as also:
            await client.jobs()
    assert refused.value.error_code == also.value.error_code == "REDIS_LOGIN_REFUSED"
    assert "refuses the user or password of EMENDO_REDIS_URL" in refused.value.message
    assert "hush" not in json.dumps(refused.value.to_dict())
    code, out, _ = cli(theirs, "doctor", "--json")
    finding = json.loads(out)[-1]
    assert (code, finding["check"], finding["state"]) == (1, "redis", "fail")
    assert "refuses the user or password" in finding["found"]
    assert "hush" not in out


def test_workers_wait_for_a_password_that_is_set_right_and_spend_no_attempts():
    failure = failure_of(AuthenticationError("WRONGPASS for hush"))
    assert (failure.error_code, "hush" in str(failure)) == (ErrorCode.STORE_AWAY, False)


async def test_the_async_client_asks_it_once_too(emendo_settings, silent):
    server, url = silent
    away = emendo_settings.model_copy(update={"redis_url": f"{url}/0", "control_url": f"{url}/0", "redis_timeout": 0.2})
    async with AsyncMemoryClient(away) as client:
        with pytest.raises(NetworkError):
            await client.update("some-memory", "text")
    assert connections_to(server) == 1


@pytest.mark.timeout(10)  # kombu's own limits are 4 s for a connection and 15 s for an answer
@pytest.mark.parametrize("answers", [False, None], ids=["silent", "refused"])
def test_a_wakeup_gives_a_broker_up_after_the_broker_timeout(emendo_settings, silent, answers):
    _, url = silent
    broker_url = f"{url}/1" if answers is False else "redis://127.0.0.1:1/1"
    notifier = ShardNotifier(emendo_settings.model_copy(update={"broker_url": broker_url, "broker_timeout": 0.2}))
    assert [notifier.notify("0") for _ in range(3)] == [False] * 3
    notifier.close()


def test_a_closed_client_has_no_connection_to_the_broker(emendo_settings):
    with redis.Redis.from_url(emendo_settings.broker_url) as broker:

        def connections() -> set[str]:
            return {each["id"] for each in broker.client_list()}

        before = connections()
        notifier = ShardNotifier(emendo_settings)
        assert notifier.notify("0")
        opened = connections() - before
        assert opened
        notifier.close()
        until(lambda: not opened & connections())


def test_a_worker_outlives_a_broker_that_goes_away_before_an_acknowledgement(emendo_settings):
    with Connection(emendo_settings.broker_url, transport=broker_transport.Transport) as connection:
        queue = connection.SimpleQueue(f"{emendo_settings.key_prefix}lost")
        queue.put({})
        message = queue.get(timeout=5)
        connection.collect()  # Celery does this first when the connection is lost
        connection.close()
        message.ack()  # the acknowledgement was under way; Celery has connected again


def test_a_message_of_a_living_connection_is_acknowledged(emendo_settings):
    with Connection(emendo_settings.broker_url, transport=broker_transport.Transport) as connection:
        queue = connection.SimpleQueue(f"{emendo_settings.key_prefix}kept")
        queue.put({})
        message = queue.get(timeout=5)
        waiting = message.channel.unacked_key
        assert message.channel.client.hexists(waiting, message.delivery_tag)
        message.ack()
        assert not message.channel.client.hexists(waiting, message.delivery_tag)
        queue.close()


def test_a_worker_process_uses_the_transport_that_outlives_its_broker():
    from emendo_workers import app as _  # noqa: F401  # what a worker process loads first

    assert [TRANSPORT_ALIASES[scheme] for scheme in ("redis", "rediss")] == [
        "emendo_workers.runtime.broker_transport:Transport"
    ] * 2
