"""Estimates of tokens, for the size of questions and the bounds of answers."""

from __future__ import annotations

BYTES_PER_TOKEN = 3  # about four for English, fewer where one character is several bytes


def tokens_of(text: str) -> int:
    """An estimate of a text's tokens, rather too high than too low."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
