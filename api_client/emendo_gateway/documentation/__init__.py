"""The OpenAPI document: what FastAPI cannot know by itself."""

from emendo_gateway.documentation.document import describe, operation_id

__all__ = ["describe", "operation_id"]
