"""The runbook as a dashboard, so that links need no web server. Each section of when-paged.md has a panel."""

# ruff: noqa: INP001  # beside a script, not a package

from __future__ import annotations

import re

from panels import RUNBOOK, Json, frame

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")
_HEIGHT = 9


def read_runbook(page: str) -> dict[str, str]:
    """The text of each section by its title. The page's title stands for its beginning."""
    first, *rest = re.split(r"^## ", page, flags=re.MULTILINE)
    title, _, text = first.removeprefix("# ").partition("\n")
    sections = {title: text}
    sections |= {head: text for head, _, text in (each.partition("\n") for each in rest)}
    return {head: _plain(text) for head, text in sections.items()}


def places_of(sections: dict[str, str]) -> dict[str, int]:
    """The id of each section's panel."""
    return {title: place for place, title in enumerate(sections, 1)}


def runbook(sections: dict[str, str]) -> Json:
    """The dashboard. Each section has a panel of its own, which the other dashboards link to."""
    panels: list[Json] = [
        {
            "id": place,
            "type": "text",
            "title": title,
            "gridPos": {"x": 12 * ((place - 1) % 2), "y": _HEIGHT * ((place - 1) // 2), "w": 12, "h": _HEIGHT},
            "options": {"mode": "markdown", "content": sections[title]},
        }
        for title, place in places_of(sections).items()
    ]
    return frame(
        RUNBOOK,
        "Emendo: when you are paged",
        "The page docs/how-to/when-paged.md: the meaning of each alert, the first look, the remedy.",
        panels,
    )


def _plain(text: str) -> str:
    """The section without links to other pages of the repository, which Grafana does not have."""
    return _LINK.sub(r"\1", text).strip()
