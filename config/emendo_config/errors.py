"""The root of Emendo's error tree; the whole tree is drawn in `emendo_client.errors`.

These two live here because settings are refused before any client exists.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EmendoError(Exception):
    """Base of everything Emendo raises.

    Args:
        message: what was wrong, without any memory text, key or secret.
        error_code: stable, machine readable; defaults to the class's own code.
        details: values a program may act on (ids, versions, limits).
        suggestion: what the reader can do about it.
        debug_info: values for a bug report.
    """

    code: ClassVar[str] = "EMENDO"

    def __init__(
        self,
        message: str,
        error_code: str | None = None,
        details: dict[str, Any] | None = None,
        suggestion: str | None = None,
        debug_info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code or self.code
        self.details = details or {}
        self.suggestion = suggestion
        self.debug_info = debug_info or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.suggestion})" if self.suggestion else self.message

    def to_dict(self) -> dict[str, Any]:
        """The error as plain JSON values, as it stands in a job record: {type, code, message, …}."""
        document: dict[str, Any] = {
            "type": type(self).__name__,
            "code": self.error_code,
            "message": self.message,
        }
        if self.details:
            document["details"] = self.details
        if self.suggestion:
            document["suggestion"] = self.suggestion
        return document


class ConfigurationError(EmendoError):
    """A setting, or two settings together, cannot work; `suggestion` says what to change."""

    code = "CONFIGURATION"
