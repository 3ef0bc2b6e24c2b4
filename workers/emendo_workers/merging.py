"""Merging two texts through the chat model."""

from __future__ import annotations

from typing import Protocol

from emendo_workers.reconcile import Texts


class Merger(Protocol):
    """Brings together what two writers made of one text."""

    def merge(self, texts: Texts) -> str | None:
        """The merged text; None when a person must decide.

        Raises:
            NetworkError, RateLimitError: trying again later may help.
        """
        ...
