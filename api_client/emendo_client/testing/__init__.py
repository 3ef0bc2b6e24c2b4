"""Helpers for tests of applications that use Emendo: an OpenAI-protocol server, a real Redis, a real worker.

`emendo_client.testing.fixtures` holds pytest fixtures; `python -m emendo_client.testing` runs the server alone.
"""

from __future__ import annotations

from emendo_client.testing.openai_server.embedding_form import EmbeddingForm
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.limits import Limits
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.remote import RemoteOpenAIServer, start_server_process
from emendo_client.testing.openai_server.reply import Reply
from emendo_client.testing.openai_server.request_log import Request
from emendo_client.testing.openai_server.server import OpenAIServer

__all__ = [
    "EmbeddingForm",
    "Fault",
    "Limits",
    "OpenAIServer",
    "RateLimits",
    "RemoteOpenAIServer",
    "Reply",
    "Request",
    "start_server_process",
]
