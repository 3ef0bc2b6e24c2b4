"""The provider stand-in and the real openai client, for the tests of the protocol."""

from __future__ import annotations

import openai
import pytest

from emendo_client.testing import OpenAIServer


@pytest.fixture
def server():
    with OpenAIServer() as started:
        yield started


@pytest.fixture
def api(server):
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=2) as client:
        yield client


@pytest.fixture
async def async_api(server):
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=2) as client:
        yield client
