"""Which server is asked: never OpenAI itself only because nobody named another one."""

from __future__ import annotations

import httpx2
import openai
import pytest

from emendo_client.errors import ConfigurationError
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.embeddings import create_embedder
from emendo_client.providers.openai_errors import CHAT, EMBEDDING, translate
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace

pytestmark = pytest.mark.usefixtures("nothing_set")

SPACE = EmbeddingSpace("openai", "text-embedding-3-small", 1536)


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """The options of the clients that were made."""
    made: list[dict] = []

    class Noted:
        """Notes what it was made with."""

        def __init__(self, **options: object) -> None:
            made.append(options)

        async def close(self) -> None:
            """Has nothing to close."""

    for name in ("OpenAI", "AsyncOpenAI"):
        monkeypatch.setattr(openai, name, Noted)
    return made


@pytest.mark.parametrize(
    ("settings", "space"), [({}, SPACE), ({"embedding_provider": "openai"}, None)], ids=["the store's", "the settings'"]
)
def test_an_embedder_without_key_and_base_url_is_refused(asked, settings, space):
    with pytest.raises(ConfigurationError) as refused:
        create_embedder(Settings(**settings), space).prepare()
    assert refused.value.message == (
        "the embedder openai/text-embedding-3-small is needed, but neither EMENDO_EMBEDDING_API_KEY "
        "(or OPENAI_API_KEY) nor EMENDO_EMBEDDING_BASE_URL is set here"
    )
    assert "the workers' settings" in str(refused.value.suggestion)
    assert asked == []


@pytest.mark.parametrize(
    ("settings", "key", "url"),
    [
        ({"embedding_api_key": "k"}, "k", None),
        ({"embedding_base_url": "http://h/v1"}, "none", "http://h/v1"),
        ({"embedding_api_key": "k", "embedding_base_url": "http://h/v1"}, "k", "http://h/v1"),
    ],
)
def test_a_key_alone_means_openai_and_a_base_url_needs_no_key(asked, settings, key, url):
    create_embedder(Settings(**settings), SPACE).prepare()
    assert [(options["api_key"], options["base_url"]) for options in asked] == [(key, url)]


def test_the_key_of_openais_own_variable_counts(asked, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    create_embedder(Settings(), SPACE).prepare()
    create_chat_model(Settings(chat_model="m"))
    assert [options["api_key"] for options in asked] == ["theirs"]


def test_a_chat_model_without_key_and_base_url_is_refused():
    with pytest.raises(ConfigurationError) as refused:
        create_chat_model(Settings(chat_model="m", embedding_api_key="k", embedding_base_url="http://h/v1"))
    assert refused.value.message == (
        "the chat model m is needed, but neither EMENDO_CHAT_API_KEY (or OPENAI_API_KEY) nor EMENDO_CHAT_BASE_URL "
        "is set here"
    )


@pytest.mark.parametrize("settings", [{"chat_api_key": "k"}, {"chat_base_url": "http://h/v1"}])
def test_a_chat_model_with_one_of_them_is_made(settings):
    create_chat_model(Settings(chat_model="m", **settings)).close()


@pytest.mark.parametrize(("provider", "setting"), [(EMBEDDING, "EMENDO_EMBEDDING_"), (CHAT, "EMENDO_CHAT_")])
def test_a_provider_that_cannot_be_reached_names_its_address_setting_and_the_network(provider, setting):
    failure = openai.APIConnectionError(request=None)
    failure.__cause__ = httpx2.ConnectTimeout("")
    suggestion = str(translate(failure, provider).suggestion)
    assert f"{setting}BASE_URL" in suggestion
    assert "network" in suggestion
