"""Where things are, and the keys for them: what cannot work is refused at the start, by name and without its value."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr
from redis import Redis

from emendo_config import ConfigurationError, Settings

pytestmark = pytest.mark.usefixtures("nothing_set")

REDIS_EXAMPLE = "write it like redis://host:6379/0; percent-encode special characters of the password"
SCHEMES = "it does not begin with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://"
UNREADABLE = "its host, port or options cannot be read"
NO_DATABASE = "its database is no whole number"
NO_OPTION = "it has an option that redis-py does not take"
NOT_YOURS = "it has an option that is not yours to set (decode_responses, encoding, encoding_errors, protocol)"
NO_TRANSPORT = "its scheme, port or options are none that kombu takes, or what its transport needs is not installed"


def refusal(**values) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**values)
    error = refused.value
    assert error.__context__ is None or error.__suppress_context__, "a traceback would show the URL"
    return error


WRONG_REDIS = [
    ("foo", SCHEMES),
    ("localhost:6379", SCHEMES),
    ("http://localhost:6379", SCHEMES),
    ("redis://localhost:port/0", UNREADABLE),
    ("redis://localhost:99999/0", UNREADABLE),
    ("redis://localhost:0/0", UNREADABLE),
    ("redis://[::1/0", UNREADABLE),
    ("redis://:secr/et@127.0.0.1:6379/0", UNREADABLE),
    ("redis://:secr#et@127.0.0.1:6379/0", UNREADABLE),
    ("redis://:secr℀et@127.0.0.1:6379/0", UNREADABLE),
    ("redis://:12#secret@127.0.0.1:6379/0", UNREADABLE),
    ("redis://:12?secret@127.0.0.1:6379/0", UNREADABLE),
    ("redis://:12/secret@127.0.0.1:6379/0", NO_DATABASE),
    ("redis://localhost/foo", NO_DATABASE),
    ("redis://localhost/-1", NO_DATABASE),
    ("redis://localhost/0?socket_timeout=x", NO_OPTION),
    ("redis://localhost/0?db=x", NO_OPTION),
    ("redis://localhost/0?no_such=1", NO_OPTION),
    ("rediss://localhost/0?ssl_cert_reqs=perhaps", NO_OPTION),
    ("unix://", "it names no socket"),
    ("redis://localhost/0?decode_responses=True", NOT_YOURS),
    ("redis://localhost/0?protocol=3", NOT_YOURS),
]


@pytest.mark.parametrize("field", ["redis_url", "control_url"])
@pytest.mark.parametrize(("url", "problem"), WRONG_REDIS)
def test_a_redis_that_cannot_be_reached_is_refused(field, url, problem):
    error = refusal(**{field: url})
    assert error.message == f"EMENDO_{field.upper()} cannot be used: {problem}"
    assert error.suggestion == REDIS_EXAMPLE
    assert "secr" not in repr(error)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://localhost/0/",
        "redis://:secr%2Fet@[::1]:6379/0",
        "redis://localhost?db=0&socket_timeout=2",
        "rediss://localhost/0?ssl_cert_reqs=none",
        "unix://user:password@/run/redis.sock?db=0",
        "redis://localhost:6379/0\n",
    ],
)
def test_what_redis_py_takes_is_taken(url):
    settings = Settings(redis_url=url, control_url=url, broker_url="memory://")
    assert settings.redis_url == settings.control_url == url.strip()
    Redis.from_url(settings.redis_url).close()


def test_a_url_that_is_no_text_is_refused():
    assert refusal(redis_url=6379).message == "invalid settings: EMENDO_REDIS_URL: Input should be a valid string"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:6379", NO_TRANSPORT),
        ("foo://secret", NO_TRANSPORT),
        ("http://localhost", NO_TRANSPORT),
        ("a.b://secret", NO_TRANSPORT),
        ("kafka://", NO_TRANSPORT),  # the tests' environment has neither library
        ("sqs://", NO_TRANSPORT),
        ("amqp://localhost:port", NO_TRANSPORT),
        ("amqp://u:secr/et@localhost", NO_TRANSPORT),
        ("amqp://localhost?no_such=1", NO_TRANSPORT),
        ("sentinel://a:26379;sentinel://b:port", NO_TRANSPORT),
        ("sentinel://a:26379/secret", NO_DATABASE),
        ("redis+http://localhost", NO_TRANSPORT),
        ("redis+socket://", "it names no socket"),
        ("redis+socket:///run/redis.sock?virtual_host=secret", NO_OPTION),
        ("redis://localhost:port/1", UNREADABLE),
        ("redis://:secr;et@localhost:6379/1", UNREADABLE),
        ("redis://localhost/foo", NO_DATABASE),
        ("redis://localhost/1/", NO_DATABASE),
        ("redis://localhost/1?socket_timeout=5", "it has an option that kombu does not take"),
    ],
)
def test_a_broker_that_cannot_be_reached_is_refused(url, problem):
    error = refusal(broker_url=url)
    assert error.message == f"EMENDO_BROKER_URL cannot be used: {problem}"
    assert "redis://host:6379/1" in error.suggestion
    assert "percent-encode" in error.suggestion
    assert "secr" not in repr(error)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:secr%2Fet@[::1]:6379/1",
        "rediss://localhost:6379/1?ssl_cert_reqs=required",
        "redis://a:6379/1;redis://b:6379/1",
        "redis+socket:///run/redis.sock?virtual_host=1",
        "sentinel://a:26379;sentinel://b:26379",
        "amqp://u:p@mq//",
        "amqps://mq",
        "pyamqp://mq:5672",
        "memory://",
    ],
)
def test_a_broker_that_kombu_knows_is_taken(url):
    assert Settings(broker_url=url).broker_url == url


def test_the_broker_beside_a_redis_is_one_that_kombu_can_use():
    settings = Settings(redis_url="redis://:a;b@h:7000?db=0&socket_timeout=2")
    assert settings.broker_url == "redis://:a%3Bb@h:7000/1"
    settings = Settings(redis_url="rediss://h/0?max_connections=5&ssl_ca_certs=/etc/ca.pem")
    assert settings.broker_url == "rediss://h/1?ssl_ca_certs=/etc/ca.pem"


def test_a_password_that_kombu_would_not_see_needs_a_broker_of_its_own():
    error = refusal(redis_url="redis://h:6379/0?password=secret")
    assert "EMENDO_BROKER_URL is needed" in error.message
    assert error.suggestion == "write them before the host: redis://user:password@host:6379/0"
    assert "secret" not in str(error)


def test_the_usual_settings_need_no_kombu():
    """A process that only reads has no use for it, and it would keep the transport that workers replace."""
    code = "import sys; from emendo_config import Settings; Settings(); print('kombu' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("field", ["embedding_base_url", "chat_base_url"])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("secret.example/v1", "it does not begin with http:// or https://"),
        ("ftp://secret.example/v1", "it does not begin with http:// or https://"),
        ("http://localhost:port/v1", UNREADABLE),
        ("http://localhost:99999/v1", UNREADABLE),
        ("http://u:secr/et@localhost/v1", UNREADABLE),
        ("http:///v1", UNREADABLE),
        ("http://localhost/\tv1", UNREADABLE),
    ],
)
def test_a_provider_that_cannot_be_asked_is_refused(field, url, problem):
    error = refusal(**{field: url})
    assert error.message == f"EMENDO_{field.upper()}, or OPENAI_BASE_URL in its place, cannot be used: {problem}"
    assert error.suggestion.startswith("write it like https://host/v1")
    assert "secr" not in repr(error)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "HTTPS://u:p%2Fw@host/v1?version=1", "http://[::1]/v1\n"])
def test_a_provider_that_can_be_asked_is_taken(url):
    settings = Settings(embedding_base_url=url, chat_base_url=url)
    assert settings.embedding_base_url == settings.chat_base_url == url.strip()


@pytest.mark.parametrize("kind", ["embedding", "chat"])
@pytest.mark.parametrize("variable", [None, "OPENAI_API_KEY"])
def test_a_user_name_in_the_url_never_replaces_a_key(monkeypatch, kind, variable):
    values = {f"{kind}_base_url": "https://me:secret@host/v1"}
    Settings(**values)
    if variable is None:
        values[f"{kind}_api_key"] = "hidden"
    else:
        monkeypatch.setenv(variable, "hidden")
    error = refusal(**values)
    assert error.message == (
        f"EMENDO_{kind.upper()}_BASE_URL, or OPENAI_BASE_URL in its place, has a user name or password, which would "
        f"replace EMENDO_{kind.upper()}_API_KEY (or OPENAI_API_KEY)"
    )
    assert f"EMENDO_{kind.upper()}_HEADERS" in error.suggestion
    assert not any(word in repr(error) for word in ("secret", "hidden", "me:"))


@pytest.mark.parametrize("kind", ["embedding", "chat"])
@pytest.mark.parametrize("end", ["embeddings", "embeddings/?api-version=1", "chat/completions"])
def test_the_url_of_one_endpoint_is_refused_with_the_part_to_leave_off(kind, end):
    error = refusal(**{f"{kind}_base_url": f"https://host/openai/deployments/d/{end}"})
    assert "names one endpoint" in error.message
    assert "leave its end off" in error.suggestion


@pytest.mark.parametrize("kind", ["embedding", "chat"])
@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ("secret", "it is no JSON object"),
        ('["secret"]', "it is no JSON object"),
        ('{"secret name": "x"}', "it has a name that is none of a header"),
        ('{"api-key": "secr\\net"}', "it has a value that is no text of printable ASCII"),
        ('{"api-key": 7}', "it has a value that is no text of printable ASCII"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_and_not_shown(kind, headers, problem):
    error = refusal(**{f"{kind}_headers": headers})
    assert error.message == f"EMENDO_{kind.upper()}_HEADERS cannot be used: {problem}"
    assert "secr" not in repr(error)
    assert "k" not in repr(Settings(**{f"{kind}_headers": '{"api-key": "k"}'}).embedding_headers)


@pytest.mark.parametrize("field", ["embedding_api_key", "chat_api_key"])
@pytest.mark.parametrize("key", ["schlüssel", "se\ncret", "se\x00cret"])
def test_a_key_that_no_header_can_carry_is_refused(field, key):
    error = refusal(**{field: key})
    assert error.message == (
        f"EMENDO_{field.upper()}, or OPENAI_API_KEY in its place, has characters beyond printable ASCII"
    )
    assert "copy the key once more" in error.suggestion
    assert key not in repr(error)


def test_the_newline_at_the_end_of_a_secret_file_is_no_part_of_the_key(monkeypatch):
    monkeypatch.setenv("EMENDO_EMBEDDING_API_KEY", "ours\n")
    monkeypatch.setenv("OPENAI_API_KEY", " theirs\r\n")
    settings = Settings()
    keys = (settings.embedding_api_key, settings.chat_api_key, Settings(chat_api_key=SecretStr("given\n")).chat_api_key)
    assert [key.get_secret_value() for key in keys] == ["ours", "theirs", "given"]


def test_a_key_of_nothing_but_a_newline_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "\n")
    assert Settings(embedding_api_key=SecretStr("\n")).space.provider == "local"


@pytest.mark.parametrize("kind", ["embedding", "chat"])
def test_the_openai_librarys_own_base_url_counts_where_it_would_be_used(monkeypatch, kind):
    monkeypatch.setenv("OPENAI_BASE_URL", " https://private.example/v1 ")
    assert getattr(Settings(), f"{kind}_base_url") == "", "without a key the library is not asked"
    assert Settings().embedding_provider == "local"
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert getattr(Settings(), f"{kind}_base_url") == "https://private.example/v1"
    ours = Settings(**{f"{kind}_base_url": "https://ours.example/v1"})
    assert getattr(ours, f"{kind}_base_url") == "https://ours.example/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "private.example")
    assert "private" not in refusal().message
