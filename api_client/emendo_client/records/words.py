"""Full-text search: the words of a text, as they are indexed and searched for."""

from __future__ import annotations

import re
import unicodedata

# Thai, Lao, Burmese, Khmer, Japanese, Chinese and Korean write words, or what is added to them, without spaces.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Letters and digits of any script.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
# A longer run is no word that somebody looks for. Redis cuts what it indexes at these bytes, and not what it looks for.
MAX_WORD_CHARS, _MAX_WORD_BYTES = 64, 128
_SURELY_SHORT = 32  # of up to four bytes each
# Words of a query that are looked for, in their order.
MAX_QUERY_WORDS = 64


def words_of(text: str) -> list[str]:
    """The words in their order, in lower case and without accents: runs of alphanumeric characters.

    Redis' own way of cutting words joins those of two lines, and knows lower case in ASCII only.
    """
    return [_cut(word) for word in all_words(text)]


def all_words(text: str) -> list[str]:
    """The same words, however long they are."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    # Accents are dropped, and Korean syllables are put together again.
    plain = unicodedata.normalize("NFC", "".join(char for char in plain if not unicodedata.combining(char)))
    # Vowel signs and punctuation stand among the characters of such scripts.
    return [word for word in _WORD.findall(plain) if word.isalnum()]


def _cut(word: str) -> str:
    return (
        word[:MAX_WORD_CHARS].encode()[:_MAX_WORD_BYTES].decode(errors="ignore") if len(word) > _SURELY_SHORT else word
    )


def indexed_words(text: str) -> str:
    """The value of the `words` field for a memory's text: each word once."""
    return " ".join(dict.fromkeys(words_of(text)))


def query_words(text: str) -> list[str]:
    """The different words of a query that are looked for."""
    return list(dict.fromkeys(words_of(text)))[:MAX_QUERY_WORDS]
