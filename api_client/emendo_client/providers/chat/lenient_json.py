"""JSON as chat models write it: among other words, with Python's literals, with trailing commas, cut off at the end.

Only the notation is lenient. A value is as it was written, or it is not read at all: nothing is completed or corrected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Deeper than any document that is asked for. Limits the work on an answer of nothing but brackets.
_MAX_DEPTH = 32
_MAX_STARTS = 1_000
# How often the text may be read in all: a start that leads nowhere is read again from the next one on.
_MAX_PASSES = 8

_START = re.compile(r"[{\[]")
# White space and comments.
_GAP = re.compile(r"(?:\s++|//[^\n]*+|#[^\n]*+)*+")
_STRINGS = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*+){quote}", re.DOTALL) for quote in "\"'"}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_QUOTES = re.compile(r"\\(.)|\"", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Value:
    """An object or a list in a text.

    Attributes:
        value: of a cut one, the parts that are complete.
        start, end: its place in the text.
        is_cut: the text ended before it did.
    """

    value: Any
    start: int
    end: int
    is_cut: bool


class _BrokenError(ValueError):
    """No value stands there."""


def values_in(text: str) -> Iterator[Value]:
    """The objects and lists in a text, outermost ones only, in their order; at most the last one is cut."""
    end, passed = 0, 0
    for starts, found in enumerate(_START.finditer(text)):
        if starts == _MAX_STARTS or passed > _MAX_PASSES * len(text):
            break
        if found.start() < end:
            continue
        reader = _Reader(text, found.start())
        try:
            value = reader.read(0)
        except _BrokenError:
            continue
        finally:
            passed += reader.at - found.start()
        if value or not reader.is_cut:
            end = reader.at
            yield Value(value, found.start(), end, reader.is_cut)


class _Reader:
    """Reads one value.

    Attributes:
        at: the place of the next character.
        is_cut: the text is over; what was read is complete as far as it goes.
    """

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self.at = at
        self.is_cut = False

    def read(self, depth: int) -> Any:
        """The value that begins here; meaningless when it is no container and `is_cut` is set."""
        if depth > _MAX_DEPTH:
            raise _BrokenError
        character = self._peek()
        if character == "{":
            return self._object(depth)
        if character == "[":
            return self._list(depth)
        if character in _STRINGS:
            return self._string()
        return self._number() if character and character in "-0123456789" else self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self.at += 1
        while self._goes_on("}"):
            key = self._key()
            if not self._passes_colon():
                break
            value = self.read(depth + 1)
            if not self.is_cut or isinstance(value, dict | list):
                members[key] = value
            if not self._goes_on_after_comma("}"):
                break
        return members

    def _list(self, depth: int) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        while self._goes_on("]"):
            item = self.read(depth + 1)
            if not self.is_cut:  # half an item is none
                items.append(item)
            if not self._goes_on_after_comma("]"):
                break
        return items

    def _goes_on(self, closing: str) -> bool:
        """False at the end of the container, which is passed, and at the end of the text."""
        if self._peek() == closing:
            self.at += 1
            return False
        return not self.is_cut

    def _goes_on_after_comma(self, closing: str) -> bool:
        character = "" if self.is_cut else self._peek()
        if character == ",":
            self.at += 1
        elif character not in ("", closing):
            raise _BrokenError
        return bool(character)

    def _passes_colon(self) -> bool:
        """False at the end of the text."""
        character = "" if self.is_cut else self._peek()
        if character not in ("", ":"):
            raise _BrokenError
        self.at += len(character)
        return bool(character)

    def _peek(self) -> str:
        """The next character that is no gap; empty, and `is_cut`, at the end of the text."""
        gap = _GAP.match(self._text, self.at)
        self.at = gap.end() if gap else self.at
        if self.at >= len(self._text):
            self.is_cut = True
            return ""
        return self._text[self.at]

    def _key(self) -> str:
        if self._peek() in _STRINGS:
            return self._string()
        return self._match(_WORD)

    def _string(self) -> str:
        found = _STRINGS[self._text[self.at]].match(self._text, self.at)
        if found is None:
            self.at = len(self._text)
            self.is_cut = True
            return ""
        self.at = found.end()
        try:
            # In JSON's own quotes; a line break within a string is a character like any other.
            written: str = json.loads(f'"{_QUOTES.sub(_requoted, found[1])}"', strict=False)
        except ValueError:
            raise _BrokenError from None
        return written

    def _number(self) -> Any:
        try:
            return json.loads(self._match(_NUMBER))
        except ValueError:  # a number of thousands of digits
            raise _BrokenError from None

    def _word(self) -> Any:
        word = self._match(_WORD)
        if not self.is_cut and word not in _WORDS:
            raise _BrokenError
        return _WORDS.get(word)

    def _match(self, token: re.Pattern[str]) -> str:
        """A number or word. One at the end of the text may have been longer."""
        found = token.match(self._text, self.at)
        if found is None and not self.is_cut:
            raise _BrokenError
        self.at = found.end() if found else self.at
        self.is_cut = self.at >= len(self._text)
        return found[0] if found else ""


def _requoted(found: re.Match[str]) -> str:
    if found[1] is None:
        return '\\"'
    return "'" if found[1] == "'" else found[0]
