"""Texts that a chat model wrote. Pure."""

from __future__ import annotations

from emendo_client.requests import content
from emendo_config import Settings
from emendo_config.visible_text import visible


def model_text(written: str, settings: Settings) -> str:
    """The text as a memory's: without white space at its ends, and without characters that show nothing.

    Raises:
        ValidationError: it is empty or too long, or holds characters that are no text.
    """
    return content.text(visible(content.text(written.strip(), "text", settings)).strip(), "text", settings)
