"""The Redis server that `emendo up` and `emendo redis` would start."""

from __future__ import annotations

from emendo_client.testing.redis_servers import find_server
from emendo_config import ConfigurationError
from emendo_ops.doctor.finding import Finding


def check_embedded_server() -> Finding:
    """Looks for a server with search; without one this is only a warning, since EMENDO_REDIS_URL makes it needless."""
    try:
        server = find_server()
    except ConfigurationError as error:
        return Finding("embedded redis", "warn", error.message, error.suggestion or "")
    return Finding("embedded redis", "ok", server.origin + (", for development only" if server.from_wheels else ""))
