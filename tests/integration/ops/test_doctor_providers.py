"""`emendo doctor` asks the providers, and shows what they answer."""

from __future__ import annotations

import json

import pytest

from emendo_client.testing import Fault, Limits
from emendo_client.testing.openai_server.too_long import SERVERS
from tests.support.inferring import with_chat


@pytest.fixture
def findings(cli, openai_server, model):
    """The findings of a doctor with these settings, by check."""

    def look(settings):
        _, out, _ = cli(settings, "doctor", "--json")
        return {finding["check"]: finding for finding in json.loads(out)}

    return look


def test_it_shows_the_dimensions_and_the_time_of_an_answer(findings, emendo_settings, openai_server):
    found = findings(with_chat(emendo_settings, openai_server))
    assert (found["embedding"]["state"], found["chat model"]["state"]) == ("ok", "ok")
    assert f"{emendo_settings.embedding_dimensions} dimensions in " in found["embedding"]["found"]
    assert found["chat model"]["found"].startswith("m answered in ")
    assert [request.endpoint for request in openai_server.requests] == ["embeddings", "chat"]


def test_without_a_chat_model_it_says_so(findings, emendo_settings):
    assert "none is configured" in findings(emendo_settings)["chat model"]["found"]


@pytest.mark.parametrize(
    ("limits", "code"), [({"models": {"another"}}, "model_not_found"), ({"max_tokens": 1}, "context_length_exceeded")]
)
def test_it_shows_the_providers_code_and_what_to_do(findings, emendo_settings, openai_server, limits, code):
    openai_server.limits = Limits(**limits)
    found = findings(with_chat(emendo_settings, openai_server))
    assert found["chat model"]["state"] == "fail"
    assert f"code {code}" in found["chat model"]["found"]
    assert found["chat model"]["mend"]
    if "models" in limits:
        assert (found["embedding"]["state"], f"code {code}" in found["embedding"]["found"]) == ("fail", True)
        assert "EMENDO_EMBEDDING_MODEL" in found["embedding"]["mend"]


@pytest.mark.parametrize("server", SERVERS)
def test_it_understands_each_servers_words_for_too_many_tokens(findings, emendo_settings, openai_server, server):
    openai_server.limits = Limits(max_tokens=1, speaks_like=server)
    found = findings(with_chat(emendo_settings, openai_server))["chat model"]
    assert "INFERENCE_TOO_LONG" in found["found"]
    assert "EMENDO_INFERENCE_WINDOW_TOKENS" in found["mend"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [("unauthorized", "AUTHENTICATION"), ("unavailable", "PROVIDER_FAILING"), ("quota", "QUOTA_EXCEEDED")],
)
def test_it_shows_how_a_provider_fails(findings, emendo_settings, openai_server, kind, code):
    openai_server.faults.add(Fault(kind, times=9))
    found = findings(emendo_settings)["embedding"]
    assert (found["state"], code in found["found"]) == ("fail", True)
    assert found["mend"]
