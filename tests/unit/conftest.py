"""Fixtures of the unit tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def nothing_set(monkeypatch):
    """No setting comes from the environment that the tests run in."""
    for name in list(os.environ):
        if name.upper().startswith(("EMENDO_", "OPENAI_")):
            monkeypatch.delenv(name)
