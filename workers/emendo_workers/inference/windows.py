"""A conversation in windows that fit one request each, with the messages before as context; no message is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emendo_client.requests.content import STORED_ROLES
from emendo_workers.inference.types import Message
from emendo_workers.providers.tokens import BYTES_PER_TOKEN, tokens_of

# A window's tokens in eighths: the messages asked about; the messages before them; system and tool messages.
_ASKED, _BEFORE, _BACKGROUND = 6, 1, 1
# The role, the number and the punctuation around a message.
_OVERHEAD = 12


@dataclass(frozen=True, slots=True)
class Part:
    """A message to be asked about, or a piece of one that is too long.

    Attributes:
        source: the message's index in the conversation.
    """

    source: int
    message: Message


@dataclass(frozen=True, slots=True)
class Window:
    """The messages of one request.

    Attributes:
        context: system and tool messages, then the messages just before; shortened, and no source of facts.
        parts: the messages to find facts in, oldest first.
        first: the number under which the model sees the first one.
    """

    context: tuple[Message, ...]
    parts: tuple[Part, ...]
    first: int = 1

    @property
    def numbers(self) -> range:
        """The numbers under which the model sees the parts."""
        return range(self.first, self.first + len(self.parts))

    def beginning_with(self, number: int) -> Window:
        """The rest of the window; the parts before are context, and the numbers stay."""
        done = number - self.first
        before = tuple(part.message for part in self.parts[:done])
        return Window((*self.context, *before), self.parts[done:], number)


def windows(messages: Sequence[Message], budget: int) -> list[Window]:
    """The conversation in windows of about `budget` tokens at most; user and assistant messages are asked about."""
    share = budget // (_ASKED + _BEFORE + _BACKGROUND)
    background = list(_within((m for m in messages if m.role not in STORED_ROLES), share * _BACKGROUND))
    parts = [
        Part(source, Message(message.role, piece, message.name))
        for source, message in enumerate(messages)
        if message.role in STORED_ROLES
        for piece in _pieces(message.content, share * _ASKED - _OVERHEAD)
    ]
    found: list[Window] = []
    for first, last in _spans(parts, share * _ASKED):
        newest_first = (part.message for part in reversed(parts[:first]))
        before = list(_within(newest_first, share * _BEFORE, from_end=True))
        found.append(Window((*background, *reversed(before)), tuple(parts[first:last])))
    return found


def _spans(parts: Sequence[Part], budget: int) -> Iterator[tuple[int, int]]:
    """Where each window begins and ends."""
    first, spent = 0, 0
    for index, part in enumerate(parts):
        cost = tokens_of(part.message.content) + _OVERHEAD
        if index > first and spent + cost > budget:
            yield first, index
            first, spent = index, 0
        spent += cost
    if parts:
        yield first, len(parts)


def _within(messages: Iterator[Message], budget: int, *, from_end: bool = False) -> Iterator[Message]:
    """The first messages that fit the budget; the last one is shortened."""
    for message in messages:
        room = (budget - _OVERHEAD) * BYTES_PER_TOKEN
        if room <= 0:
            return
        raw = message.content.encode()
        kept = (raw[-room:] if from_end else raw[:room]).decode(errors="ignore")
        yield Message(message.role, kept, message.name)
        budget -= tokens_of(kept) + _OVERHEAD


def _pieces(text: str, budget: int) -> Iterator[str]:
    """The text in pieces of at most `budget` tokens; put together they are the text."""
    room = budget * BYTES_PER_TOKEN
    while len(text.encode()) > room:
        piece = text.encode()[:room].decode(errors="ignore")
        words = piece[: max(map(piece.rfind, " \n")) + 1]
        if len(words) > len(piece) // 2:  # a text without spaces, as in Chinese, is cut between any two characters
            piece = words
        yield piece
        text = text[len(piece) :]
    yield text
