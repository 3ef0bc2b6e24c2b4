"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; `mend` is the remedy for a warning or failure."""

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""
