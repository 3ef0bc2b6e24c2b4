"""`emendo doctor` against each kind of provider: what a user reads is what the table has."""

from __future__ import annotations

import pytest

from emendo_client.providers import http
from emendo_client.testing import Fault, OpenAIServer
from emendo_client.testing.ports import free_port
from emendo_config import Settings
from emendo_ops.doctor.finding import Finding
from emendo_ops.doctor.provider_answers import check_chat_answer, check_embedding_answers
from tests.support.doctor_readings import BY_NAME, CHAT, Reading, without_times
from tests.support.provider_forms import DIMENSIONS
from tests.support.tls import Certificates, TLSProxy


@pytest.fixture
def nothing_set(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def findings(reading: Reading, server: OpenAIServer) -> dict[str, Finding]:
    """The doctor's lines on both providers, by check."""
    server.form, server.limits = reading.form, reading.limits
    server.answer_chat_with(lambda _: reading.model)
    if reading.fault:
        server.faults.add(Fault(reading.fault, times=9, silence=1.0))
    port = server.base_url.split(":")[2].removesuffix("/v1")
    given = {
        name: value.format(free=free_port(), port=port) if name.endswith("base_url") else value
        for name, value in reading.settings.items()
    }
    url = server.base_url.removesuffix("/v1") if reading.query.startswith("/") else server.base_url
    settings = Settings(
        **{
            "redis_url": "redis://127.0.0.1:1/0",
            "embedding_base_url": f"{url}{reading.query}",
            "embedding_api_key": reading.key,
            "embedding_dimensions": DIMENSIONS,
            "embedding_timeout": 0.2 if reading.fault == "timeout" else 20.0,
            "chat_base_url": server.base_url,
            "chat_model": "m" if reading.check == CHAT else "",
            **given,
        }
    )
    found = [*check_embedding_answers(settings), check_chat_answer(settings)]
    return {each.check: each for each in found}


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("name", BY_NAME)
def test_the_doctor_says_what_the_table_has(name, openai_server):
    reading = BY_NAME[name]
    said = findings(reading, openai_server)[reading.check]
    expected = reading.state, reading.found, reading.advice
    assert (said.state, without_times(said.found), said.mend) == expected


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    ("certificate", "reason"), [("foreign", "unable to get local issuer certificate"), ("expired", "has expired")]
)
def test_a_certificate_that_is_not_trusted_is_told_from_a_server_that_is_away(
    openai_server, certificate, reason, tmp_path, monkeypatch
):
    made = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    http._trusted.cache_clear()
    port = int(openai_server.base_url.split(":")[2].removesuffix("/v1"))
    with TLSProxy(port, getattr(made, certificate)) as proxy:
        reading = Reading(
            "", "embedding", "fail", "", settings={"embedding_base_url": f"https://127.0.0.1:{proxy.port}/v1"}
        )
        try:
            said = findings(reading, openai_server)["embedding"]
        finally:
            http._trusted.cache_clear()
    assert said.found.startswith("the provider's certificate is not trusted (")
    assert reason in said.found
    assert "SSL_CERT_FILE" in said.mend


@pytest.mark.usefixtures("nothing_set")
def test_an_answer_that_nearly_came_too_late_is_a_warning(openai_server):
    openai_server.latency_ms = 300
    settings = {"embedding_timeout": 0.5}
    said = findings(Reading("", "embedding", "warn", "", settings=settings), openai_server)["embedding"]
    assert (said.state, "raise EMENDO_EMBEDDING_TIMEOUT (0.5 s)" in said.mend) == ("warn", True)
