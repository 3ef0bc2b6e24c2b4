"""How much of a text an update keeps. Pure."""

from __future__ import annotations

from collections import Counter

from emendo_client.records.words import all_words

# An update that keeps less than this share of the old text loses content.
KEPT_SHARE = 0.5


def drops_most(old: str, new: str) -> bool:
    """True when the new text keeps less than half of the old one's words, whatever their order.

    Long words count more than short ones: a text that keeps "the", "is" and "of" keeps nothing. In languages that write
    without spaces, each character is a word.
    """
    before, after = _counted(old), _counted(new)
    whole = sum(count * len(word) for word, count in before.items())
    kept = sum(count * len(word) for word, count in (before & after).items())
    return kept < KEPT_SHARE * whole


def _counted(text: str) -> Counter[str]:
    """The words, or the characters of a text without words, such as one of emoji."""
    return Counter(all_words(text) or "".join(text.split()))
