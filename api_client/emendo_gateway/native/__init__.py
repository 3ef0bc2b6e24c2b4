"""The native surface, `/api/v1`: each file has the routes of one subject, and `router` brings them together."""

from emendo_gateway.native.routes import router

__all__ = ["router"]
