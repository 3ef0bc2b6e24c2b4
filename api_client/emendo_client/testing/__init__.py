"""For tests of what is built on Emendo: an OpenAI-protocol server, a real Redis, a real worker.

`emendo_client.testing.fixtures` holds pytest fixtures; `python -m emendo_client.testing` runs the server alone.
"""

from __future__ import annotations

from emendo_client.testing.faults import Fault
from emendo_client.testing.limits import Limits
from emendo_client.testing.rate_limits import RateLimits
from emendo_client.testing.reply import Reply
from emendo_client.testing.request_log import Request
from emendo_client.testing.server import OpenAIServer, RemoteOpenAIServer, start_server_process

__all__ = [
    "Fault",
    "Limits",
    "OpenAIServer",
    "RateLimits",
    "RemoteOpenAIServer",
    "Reply",
    "Request",
    "start_server_process",
]
