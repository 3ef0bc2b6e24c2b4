"""The root of Emendo's error tree; `emendo_client.errors` draws the whole tree.

The root and ConfigurationError live here because settings are refused before any client exists.
"""

from __future__ import annotations

from typing import Any, ClassVar

from emendo_config.error_codes import ErrorCode


class EmendoError(Exception):
    """Base class of every error that Emendo raises.

    Args:
        message: the problem, without any memory text, key or secret.
        error_code: an `ErrorCode`, stable and machine readable; defaults to the class's own code.
        details: values a program may act on (ids, versions, limits).
        suggestion: the action that solves the problem.
        debug_info: values for a bug report.
    """

    code: ClassVar[str] = ErrorCode.EMENDO

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
        self.error_code = str(error_code or self.code)  # a plain string, also where an ErrorCode was given
        self.details = details or {}
        self.suggestion = suggestion
        self.debug_info = debug_info or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.suggestion})" if self.suggestion else self.message

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON values, as a job record holds it: {type, code, message, details, suggestion}."""
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
    """A setting, or two settings together, cannot work; `suggestion` names the change."""

    code = ErrorCode.CONFIGURATION
