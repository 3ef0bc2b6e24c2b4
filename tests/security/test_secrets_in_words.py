"""No key or password is in a word that Emendo says: representations, errors, the doctor's findings."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from emendo_client.providers.http import async_http_client, http_client
from emendo_config import ConfigurationError, Settings

HUSH = "hush"
URLS = {
    "redis_url": f"redis://user:{HUSH}@127.0.0.1:1/0",
    "control_url": f"redis+sentinel://user:{HUSH}@127.0.0.1:1,127.0.0.1:2/main/0",
    "broker_url": f"amqp://user:{HUSH}@127.0.0.1:1//",
    "embedding_base_url": f"http://127.0.0.1:1/v1?token={HUSH}",
    "chat_base_url": f"http://user:{HUSH}@127.0.0.1:1/v1",
}
SECRETS = {
    **URLS,
    "embedding_api_key": f"sk-{HUSH}",
    "embedding_headers": f'{{"x-key": "{HUSH}"}}',
    "chat_headers": f'{{"x-key": "{HUSH}"}}',
    "flower_password": HUSH,
}
# A password that is not percent-encoded makes such URLs, and so does one of another kind.
BAD = [
    "redis://:{}/x@host:6379/0",
    "redis://user:p#{}@host/0",
    "redis://host:{}/0",
    "redis://host/0?password={}&x",
    "{}",
]
PROXIES = [
    f"http://user:{HUSH}@127.0.0.1:1",
    f"http://user:p/{HUSH}@proxy:1",
    f"http://user:p#{HUSH}@proxy:1",
    f"http://proxy:{HUSH}",
    f"ftp://user:{HUSH}@proxy:1",
]


def test_settings_represent_themselves_without_a_secret():
    settings = Settings(**SECRETS, chat_model="some")
    for words in (repr(settings), str(settings), f"{settings!r:>10}"):
        assert HUSH not in words
        assert "some" in words, "the rest is shown"
    for name in Settings.model_fields:
        is_secret = isinstance(getattr(settings, name), SecretStr)
        assert is_secret or name in URLS or not name.endswith(("_key", "_headers", "_password")), name


@pytest.mark.parametrize("name", [*URLS, "embedding_headers", "embedding_passage_fields", "chat_fields"])
@pytest.mark.parametrize("bad", BAD)
def test_a_refused_setting_is_named_and_not_quoted(name, bad):
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{name: bad.format(HUSH), "embedding_dimensions": 7, "embedding_provider": "openai"})
    assert HUSH not in f"{refused.value} {refused.value.to_dict()} {refused.value.debug_info}"
    assert f"EMENDO_{name}".upper() in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.slow
def test_the_doctor_says_no_secret_of_an_address(cli, emendo_settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", PROXIES[0])
    monkeypatch.setenv("NO_PROXY", "")
    settings = emendo_settings.model_copy(
        update={
            **{name: URLS[name] for name in ("broker_url", "control_url")},
            "embedding_base_url": f"http://provider.invalid:1/v1?token={HUSH}",
            "embedding_api_key": SecretStr(f"sk-{HUSH}"),
        }
    )
    code, out, err = cli(settings, "doctor", "--json")
    assert code == 1
    assert '"broker"' in out
    assert '"embedder"' in out
    assert HUSH not in out + err


@pytest.mark.parametrize("proxy", PROXIES[1:])
def test_a_proxy_that_cannot_be_used_is_not_quoted(monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    for make in (http_client, async_http_client):
        with pytest.raises(ConfigurationError, match="a proxy in the environment") as refused:
            make()
        assert HUSH not in f"{refused.value} {refused.value.to_dict()}"
        assert refused.value.__suppress_context__, "the library's error has the password"


def test_a_search_whose_proxy_cannot_be_used_says_so_without_it(cli, emendo_settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:p/{HUSH}@proxy:1")
    monkeypatch.setenv("NO_PROXY", "")
    settings = emendo_settings.model_copy(update={"embedding_base_url": "http://provider.invalid:1/v1"})
    code, out, err = cli(settings, "search", "fish", "--user", "ana")
    assert (code, HUSH in out + err) == (1, False)
    assert "Traceback" not in err
