"""Settings whose relations would break a guarantee are refused, with both names."""

from __future__ import annotations

import logging

import pytest

from emendo_config import ConfigurationError, Settings
from emendo_config.logs import configure_logging
from emendo_config.settings import redact_url

pytestmark = pytest.mark.usefixtures("nothing_set")


def test_the_embedder_is_local_until_a_key_or_a_base_url_is_given(monkeypatch):
    assert (Settings().space.provider, Settings().space.dimensions) == ("local", 512)
    monkeypatch.setenv("EMENDO_EMBEDDING_BASE_URL", "http://127.0.0.1:1/v1")
    assert (Settings().space.provider, Settings().space.dimensions) == ("openai", 1536)
    monkeypatch.delenv("EMENDO_EMBEDDING_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert Settings().embedding_api_key.get_secret_value() == "sk-very-secret"
    assert Settings().embedding_model == "text-embedding-3-small"


def test_broker_and_control_follow_the_data_redis(monkeypatch):
    monkeypatch.setenv("EMENDO_REDIS_URL", "redis://user:pass@host:7000/0")
    monkeypatch.setenv("EMENDO_BROKER_URL", "")
    settings = Settings()
    assert settings.broker_url == "redis://user:pass@host:7000/1"
    assert settings.control_url == settings.redis_url


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"task_time_limit": 1_800}, ("EMENDO_TASK_TIME_LIMIT", "EMENDO_VISIBILITY_TIMEOUT")),
        ({"visibility_timeout": 90_000}, ("EMENDO_VISIBILITY_TIMEOUT", "EMENDO_JOB_TTL")),
        ({"task_soft_time_limit": 180}, ("EMENDO_TASK_SOFT_TIME_LIMIT", "EMENDO_TASK_TIME_LIMIT")),
        ({"drain_budget": 120}, ("EMENDO_DRAIN_BUDGET", "EMENDO_TASK_SOFT_TIME_LIMIT")),
        ({"retry_max": 1_800}, ("EMENDO_RETRY_MAX", "EMENDO_VISIBILITY_TIMEOUT")),
        ({"retry_base": 400}, ("EMENDO_RETRY_BASE", "EMENDO_RETRY_MAX")),
        ({"sweep_interval": 8}, ("EMENDO_SWEEP_INTERVAL", "EMENDO_LEASE")),
        ({"redis_url": "redis://h/3"}, ("EMENDO_REDIS_URL", "database 0")),
        ({"embedding_provider": "local", "embedding_dimensions": 64}, ("512", "64")),
        ({"redis_url": "unix:///tmp/r.sock"}, ("EMENDO_BROKER_URL", "unix socket")),
        ({"lease": "soon"}, ("EMENDO_LEASE", "number")),
        ({"index_algorithm": "tree"}, ("EMENDO_INDEX_ALGORITHM", "flat")),
        ({"inbox_shards": 0}, ("EMENDO_INBOX_SHARDS", "1")),
    ],
)
def test_impossible_values_are_refused_by_name(values, names):
    with pytest.raises(ConfigurationError) as refused:
        Settings(**values)
    for name in names:
        assert name in str(refused.value)
    assert refused.value.suggestion


def test_secrets_are_never_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    settings = Settings(flower_password="also-secret")
    assert "sk-very-secret" not in f"{settings!r}{settings}{settings.model_dump_json()}"
    assert "also-secret" not in repr(settings)
    with pytest.raises(ConfigurationError) as refused:
        Settings(lease="sk-very-secret")
    assert "sk-very-secret" not in str(refused.value)


def test_urls_are_logged_without_their_passwords():
    assert redact_url("redis://user:pass@host:7000/0?password=x") == "redis://host:7000/0"
    assert redact_url("amqp://u:one@a//;amqps://u:two@b:1/v") == "amqp://a//;amqps://b:1/v"
    assert redact_url("redis://:p@h/1; REDIS://:two@h2/1") == "redis://h/1;redis://h2/1"
    assert redact_url("redis://:with;semicolon@host/0") == "redis://host/0"


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs_carry_fields_and_exceptions(form, capfd):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging(Settings(log_format=form))
        error = LookupError("lost")
        logging.getLogger("emendo.test").error("drained", extra={"shard": 3}, exc_info=error)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    written = capfd.readouterr().err
    assert "drained" in written
    assert ('"shard": 3' if form == "json" else "shard=3") in written
    assert "LookupError: lost" in written
