"""The surface that mem0's own clients speak: each file has the calls of one subject, `router` brings them together."""

from emendo_gateway.mem0.routes import router

__all__ = ["router"]
