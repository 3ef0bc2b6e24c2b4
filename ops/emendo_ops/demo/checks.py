"""The demo's claims. Each is counted, and each can fail."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


class Checks:
    """Counts claims that hold and collects those that do not."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.held = 0
        self.failed: list[str] = []

    def that(self, holds: bool, claim: str) -> None:
        """Counts a claim; a failed one is printed at once and again at the end."""
        if holds:
            self.held += 1
            return
        self.failed.append(claim)
        # As Text, because "[x]" in a quoted memory is not markup.
        self._console.print(Text.assemble(("did not hold: ", "bold red"), claim))

    def summary(self) -> str:
        """One line."""
        if not self.failed:
            return f"{self.held} checks held"
        return f"{self.held} checks held, {len(self.failed)} did NOT: {'; '.join(self.failed)}"
