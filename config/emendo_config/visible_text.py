"""Characters that show nothing, or that a terminal obeys, and texts without them.

They can hide an instruction in a text that people have read, make two ids look alike, or rewrite a line of a log.
Some belong where they stand: Persian and Indic words and emoji need joiners.
"""

from __future__ import annotations

import re
import unicodedata

# Controls but tab and line feed, lone surrogates, and what Unicode calls "default ignorable" or a format character.
# Those are soft hyphens, marks of direction, joiners, fillers, variation selectors and tags. Line separators end a line
# unseen.
_HIDDEN = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
HIDDEN = re.compile(f"[{_HIDDEN}]")
_JOINERS, _EMOJI_STYLES, _MONGOLIAN_STYLES = "\u200c\u200d", "\ufe0e\ufe0f", "\u180b\u180c\u180d\u180f"
# Scripts that use joiners: Arabic to N'Ko, the Indic ones to Burmese, Khmer, Mongolian and others.
_JOINED = re.compile(
    r"[\u0600-\u08ff\u0900-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    r"\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
_VIRAMA = 9  # the combining class of a sign that takes a vowel away


def visible(text: str) -> str:
    """The text as people see it: without characters that show nothing, but with joiners where they belong."""
    if text.isascii() and text.isprintable():  # most are
        return text
    return HIDDEN.sub(_kept, text)


def find_hidden(text: str) -> re.Match[str] | None:
    """The first character that `visible` would take out."""
    return None if text.isascii() and text.isprintable() else next(filter(_is_out, HIDDEN.finditer(text)), None)


def escaped(document: str) -> str:
    """A JSON document with hidden characters as escapes of JSON: the same values, and harmless on a terminal."""
    return HIDDEN.sub(_as_escape, document)


def name_of(character: str) -> str:
    """`U+200B (ZERO WIDTH SPACE)`."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{f' ({name})' if name else ''}"


def _kept(found: re.Match[str]) -> str:
    character, text, at = found.group(), found.string, found.start()
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if character in _JOINERS:
        belongs = _joins_letters(before, after) or (character == "\u200d" and _joins_emoji(text, at, after))
    elif character in _EMOJI_STYLES:
        belongs = _is_symbol(before)
    elif character == "\r":  # an old end of a line
        return "" if after == "\n" else "\n"
    else:
        belongs = character in _MONGOLIAN_STYLES and "\u1820" <= before <= "\u18aa"
    return character if belongs else ""


def _is_out(found: re.Match[str]) -> bool:
    return _kept(found) != found.group()


def _joins_letters(before: str, after: str) -> bool:
    if not before or _JOINED.match(before) is None:
        return False
    return unicodedata.combining(before) == _VIRAMA or (after != "" and _JOINED.match(after) is not None)


def _joins_emoji(text: str, at: int, after: str) -> bool:
    styled = text[max(0, at - 1) : at] == "\ufe0f"
    before = text[max(0, at - 1 - styled) : at - styled] if at > styled else ""
    return _is_emoji(before) and _is_emoji(after)


def _is_emoji(character: str) -> bool:
    """A pictograph, the colour of its skin, or a sign such as that of a sex."""
    return character != "" and (unicodedata.category(character) == "So" or "\U0001f3fb" <= character <= "\U0001f3ff")


def _is_symbol(character: str) -> bool:
    return character != "" and unicodedata.category(character) in ("So", "Sm", "Sk", "Nd", "Po", "Pd")


def _as_escape(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
