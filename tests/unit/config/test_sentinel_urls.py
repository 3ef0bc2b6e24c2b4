"""URLs of a master that sentinels name, and certificates: what they mean for redis-py and for kombu."""

from __future__ import annotations

import ssl

import pytest
from kombu import Connection

from emendo_config import ConfigurationError, Settings
from emendo_config.celery_app import create_app
from emendo_config.sentinel_urls import read_sentinel_url
from emendo_config.store.connections import connect, connect_async, connect_listening
from emendo_config.urls import redact_url

pytestmark = pytest.mark.usefixtures("nothing_set")

URL = "redis+sentinel://ana:p%40ss@one:26379,[::2]:26380,three/memories/0"


def test_the_parts_of_a_url():
    read = read_sentinel_url(f"{URL}?sentinel_password=secret&health_check_interval=3")
    assert read.sentinels == [("one", 26379), ("::2", 26380), ("three", 26379)]
    assert (read.service, read.login) == ("memories", {"password": "secret"})
    assert read.master_url == "redis://ana:p%40ss@master/0?health_check_interval=3"


@pytest.mark.parametrize("make", [connect, connect_async, connect_listening])
def test_redis_py_gets_user_password_and_database(make):
    settings = Settings(redis_url=URL)
    options = make(URL, settings).connection_pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("ana", "p@ss", 0)


def test_the_broker_is_database_1_of_the_same_master():
    settings = Settings(redis_url=f"{URL}?socket_timeout=2&sentinel_username=watch&sentinel_password=secret")
    assert settings.broker_url == (
        "redis+sentinel://ana:p%40ss@one:26379,[::2]:26380,three/memories/1"
        "?sentinel_username=watch&sentinel_password=secret"
    )
    app = create_app(settings)
    assert app.conf.broker_url == (
        "sentinel://ana:p%40ss@one:26379/1;sentinel://ana:p%40ss@[::2]:26380/1;sentinel://ana:p%40ss@three:26379/1"
    )
    options = app.conf.broker_transport_options
    assert options["master_name"] == "memories"
    assert (options["sentinel_kwargs"]["username"], options["sentinel_kwargs"]["password"]) == ("watch", "secret")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:26379",
        "redis+sentinel://one:port/memories/0",
        "redis+sentinel://one:secr/et@two/memories/secr",
        "redis+sentinel:///memories/0",
        "redis+sentinel://one,,two/memories/0",
        "redis+sentinel://one/memories/secret",
        "redis+sentinel://one/memories/0?no_such=secret",
    ],
)
@pytest.mark.parametrize("field", ["redis_url", "control_url", "broker_url"])
def test_what_cannot_be_read_is_refused_and_not_shown(field, url):
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{field: url})
    assert f"EMENDO_{field.upper()} cannot be used" in refused.value.message
    assert "secr" not in repr(refused.value)


def test_another_database_than_0_is_refused():
    with pytest.raises(ConfigurationError, match="must name database 0"):
        Settings(redis_url=URL.replace("memories/0", "memories/2"))


def test_no_log_shows_a_password():
    shown = redact_url(f"{URL}?sentinel_password=secret")
    assert shown == "redis+sentinel://one:26379,[::2]:26380,three:26379/memories/0"
    assert "secret" not in repr(Settings(redis_url=f"{URL}?sentinel_password=secret"))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("rediss://h/0", ssl.CERT_REQUIRED),
        ("rediss://h/0?ssl_ca_certs=/ca.pem", ssl.CERT_REQUIRED),
        ("rediss://h/0?ssl_cert_reqs=none", ssl.CERT_NONE),
        ("rediss+sentinel://h/memories/0", ssl.CERT_REQUIRED),
        ("rediss+sentinel://h/memories/0?ssl_ca_certs=/ca.pem", ssl.CERT_REQUIRED),
        ("rediss+sentinel://h/memories/0?ssl_cert_reqs=none&ssl_check_hostname=false", ssl.CERT_NONE),
    ],
)
def test_certificates_are_required_of_the_store_and_the_broker_unless_the_url_says_otherwise(url, wanted):
    settings = Settings(redis_url=url)
    pool = connect(url, settings).connection_pool
    assert pool.connection_class(**pool.connection_kwargs).cert_reqs == wanted
    app = create_app(settings)
    with app.connection_for_write() as connection:
        assert isinstance(connection, Connection)
        given = connection.ssl["ssl_cert_reqs"]
    assert {"required": ssl.CERT_REQUIRED, "none": ssl.CERT_NONE}.get(given, given) == wanted
    if "sentinel" in url:
        sentinel = app.conf.broker_transport_options["sentinel_kwargs"]
        assert sentinel["ssl"]
