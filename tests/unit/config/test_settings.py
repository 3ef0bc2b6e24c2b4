"""Settings whose relations would break a guarantee are refused, with both names."""

from __future__ import annotations

import logging

import pydantic
import pytest

from emendo_config import ConfigurationError, Settings
from emendo_config.logs import configure_logging
from emendo_config.urls import redact_url

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
        ({"lease": "soon"}, ("EMENDO_LEASE", "number")),
        ({"index_algorithm": "tree"}, ("EMENDO_INDEX_ALGORITHM", "flat")),
        ({"lease": "1_0"}, ("EMENDO_LEASE", "a number has no underscore")),
        ({"inference_near_duplicate": "0.9_9"}, ("EMENDO_INFERENCE_NEAR_DUPLICATE", "a number has no underscore")),
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


def test_the_documented_defaults():
    settings = Settings()
    assert (settings.redis_url, settings.broker_url) == ("redis://localhost:6379/0", "redis://localhost:6379/1")
    assert settings.control_url == settings.redis_url
    assert (settings.key_prefix, settings.project, settings.inbox_shards) == ("emendo:", "default", 16)
    assert (settings.max_text_chars, settings.max_metadata_bytes) == (32_000, 16 * 1_024)
    assert settings.index_algorithm == "flat"


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Settings().project = "other"


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("EMENDO_PROJECT", "from-environment")
    assert Settings().project == "from-environment"
    assert Settings(project="from-argument").project == "from-argument"


@pytest.mark.parametrize(
    "name", ["EMENDO_INBOX_SHARDS", "EMENDO_EMBEDDING_PROVIDER", "EMENDO_CONTROL_URL", "EMENDO_LEASE"]
)
def test_an_empty_variable_counts_as_not_set(monkeypatch, name):
    default = Settings()
    monkeypatch.setenv(name, "")
    assert Settings() == default


def test_given_broker_and_control_stay_as_they_are():
    settings = Settings(broker_url="amqp://u:p@mq//", control_url="redis://other:1/4")
    assert (settings.broker_url, settings.control_url) == ("amqp://u:p@mq//", "redis://other:1/4")


def test_the_broker_of_a_tls_redis_keeps_its_options():
    assert (
        Settings(redis_url="rediss://u:p@h:1/0?ssl_cert_reqs=none").broker_url
        == "rediss://u:p@h:1/1?ssl_cert_reqs=none"
    )


def test_a_unix_socket_with_a_broker_of_its_own_is_accepted():
    broker = "redis+socket:///run/redis.sock?virtual_host=1"
    settings = Settings(redis_url="unix:///run/redis.sock", broker_url=broker)
    assert (settings.redis_url, settings.broker_url) == ("unix:///run/redis.sock", broker)


@pytest.mark.parametrize("url", ["redis://h:1/2", "redis://h:1?db=2", "redis://h:1/0?db=2"])
def test_the_data_redis_must_name_database_0_in_whatever_way(url):
    """redis-py takes the database from the query as well, where it wins over the path."""
    with pytest.raises(ConfigurationError, match="EMENDO_REDIS_URL must name database 0, not 2"):
        Settings(redis_url=url)


@pytest.mark.parametrize(
    ("given", "space"),
    [
        ({}, "local_use_multilingual_v3_512_1"),
        ({"embedding_api_key": "k"}, "openai_text_embedding_3_small_1536_1"),
        (
            {"embedding_base_url": "http://h/v1", "embedding_model": "bge-m3", "embedding_dimensions": 1024},
            "openai_bge_m3_1024_1",
        ),
        ({"embedding_provider": "openai"}, "openai_text_embedding_3_small_1536_1"),
        ({"embedding_provider": "local", "embedding_api_key": "k"}, "local_use_multilingual_v3_512_1"),
    ],
)
def test_the_embedding_space_follows_from_what_is_given(given, space):
    assert Settings(**given).space.name == space


def test_emendos_own_key_wins_over_openais(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    monkeypatch.setenv("EMENDO_EMBEDDING_API_KEY", "ours")
    assert Settings().embedding_api_key.get_secret_value() == "ours"


def test_a_model_without_a_provider_says_how_to_get_one():
    with pytest.raises(ConfigurationError) as refused:
        Settings(embedding_model="text-embedding-3-large")
    for name in (
        "EMENDO_EMBEDDING_MODEL",
        "EMENDO_EMBEDDING_DIMENSIONS",
        "OPENAI_API_KEY",
        "EMENDO_EMBEDDING_BASE_URL",
    ):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"drain_budget": 119.9},
        {"task_soft_time_limit": 179},
        {"task_time_limit": 1_799},
        {"visibility_timeout": 86_399},
        {"retry_base": 300.0, "retry_max": 300.0},
        {"retry_max": 1_799.0},
        {"sweep_interval": 7.9},
    ],
)
def test_relations_hold_up_to_their_very_limit(values):
    assert Settings(**values).model_dump().items() >= values.items()


@pytest.mark.parametrize(
    ("field", "scheme"),
    [("redis_url", "redis"), ("broker_url", "redis"), ("control_url", "redis"), ("embedding_base_url", "http")],
)
def test_a_password_in_a_url_is_never_shown(field, scheme):
    settings = Settings(**{field: f"{scheme}://user:hunter2@h:1/0"})
    assert "hunter2" not in f"{settings!r} {settings}"


def test_a_refusal_shows_no_secret():
    for values in ({"redis_url": "redis://:hunter2@h/7"}, {"embedding_api_key": ["hunter2"]}, {"log_level": "hunter2"}):
        with pytest.raises(ConfigurationError) as refused:
            Settings(**values)
        assert "hunter2" not in f"{refused.value} {refused.value!r} {refused.value.__cause__}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:hunter2@h/0", "redis://h/0"),
        ("amqp://u:hunter2@mq:5672//", "amqp://mq:5672//"),
        ("https://h/v1?api-key=hunter2", "https://h/v1"),
        ("redis://u:hunter2@[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://", "redis:"),
    ],
)
def test_a_url_for_the_log_keeps_the_address_and_drops_the_rest(url, shown):
    assert redact_url(url).rstrip("/") == shown.rstrip("/")


@pytest.mark.parametrize("url", ["redis://:hun/ter2@h:6379/0", "redis://:hun#ter2@h:6379/0", "redis://h:port/0"])
def test_a_malformed_url_can_be_logged_too(url):
    """`emendo doctor` must be able to say that this URL is wrong, without showing the password."""
    shown = redact_url(url)
    assert "hun" not in shown
    assert "ter2" not in shown
