"""One form of messages and its reading, for the tables of `message_forms.py` and `framework_messages.py`."""

from __future__ import annotations

from typing import Any, NamedTuple


class Form(NamedTuple):
    """One form, and its reading.

    Attributes:
        messages: as they are given to `add`.
        kept: (role, content) of each message that is kept.
        left_out: how many of each kind are left out.
    """

    messages: Any
    kept: list[tuple[str, str]]
    left_out: dict[str, int] = {}  # noqa: RUF012  # read only


SAID = {"role": "user", "content": "I moved to Lisbon."}
USER = [("user", "I moved to Lisbon.")]
