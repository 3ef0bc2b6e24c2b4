"""The calls that the checks make, whatever paths the server has."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Any

from emendo_ops.conformance.connection import Answer, Connection, UnexpectedAnswerError

# Seconds between two looks at a job. Many that wait together would else use up the rate of their key.
_FIRST_POLL, _LONGEST_POLL = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Write:
    """A write that the server answered.

    Attributes:
        refused: the status of a refusal; 0 if the write was accepted.
        job: where its state is asked for; empty when the answer was the end of it.
        succeeded: it is done. False while it is under way, and when it failed.
    """

    refused: int = 0
    job: str = ""
    succeeded: bool = False
    memory_id: str = ""

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen."""
        return bool(self.refused) or not self.job


@dataclass(frozen=True, slots=True)
class Record:
    """A memory as a read shows it; `version` is None in a dialect without versions."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a history."""

    event: str
    old: str | None
    new: str | None
    version: int | None = None


class Dialect(ABC):
    """A server in one dialect, as one caller.

    Attributes:
        written: ids of memories that this caller added.
    """

    greeting: str  # a path that any valid key may GET

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.written: set[str] = set()

    @abstractmethod
    async def begin_add(self, text: str, user_id: str, key: str | None = None) -> Write:
        """Sends a text to remember as it is; `key` is the idempotency key."""

    @abstractmethod
    async def begin_update(self, memory_id: str, text: str | None = None, metadata: Any = None) -> Write:
        """Sends a change: a new text, or metadata to merge."""

    @abstractmethod
    async def begin_delete(self, memory_id: str, *, for_good: bool = False) -> Write:
        """Sends a deletion; with `for_good` nothing needs to stay."""

    @abstractmethod
    async def look(self, write: Write) -> Write | None:
        """The write as its state tells it now; None if the server knows no such job."""

    @abstractmethod
    async def read(self, memory_id: str) -> Record | None:
        """The memory; None if the caller has none with this id."""

    @abstractmethod
    async def texts(self, user_id: str) -> dict[str, str]:
        """The texts that a list of the user's memories shows, by id."""

    @abstractmethod
    async def history(self, memory_id: str) -> list[Change]:
        """The changes, oldest first; empty if the caller has no such memory."""

    async def end(self, write: Write) -> Write:
        """The write once it is over.

        Raises:
            UnexpectedAnswerError: it is not over in time, or its state is not there.
        """
        deadline, pause = time.monotonic() + self.connection.patience, _FIRST_POLL
        while not write.is_over:
            found = await self.look(write)
            if found is None:
                raise UnexpectedAnswerError(f"GET {write.job} says that there is no such job")
            if not found.is_over and time.monotonic() > deadline:
                raise UnexpectedAnswerError(f"a job was not over after {self.connection.patience:g} s")
            write = found
            if not write.is_over:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_POLL)
        if write.succeeded and write.memory_id:
            self.written.add(write.memory_id)
        return write

    async def add(self, text: str, user_id: str) -> str:
        """Adds a memory and returns its id.

        Raises:
            UnexpectedAnswerError: it did not become one.
        """
        write = await self.end(await self.begin_add(text, user_id))
        if not write.succeeded or not write.memory_id:
            why = f"refused with {write.refused}" if write.refused else "no memory came of it"
            raise UnexpectedAnswerError(f"a text could not be added: {why}")
        return write.memory_id

    async def ends(self, writes: Iterable[Awaitable[Write]]) -> list[Write]:
        """Sends all writes at once, then waits until each is over."""
        begun = await asyncio.gather(*writes)
        return await asyncio.gather(*(self.end(write) for write in begun))


def refusal(answer: Answer) -> Write:
    """The write that an answer of 4xx refuses.

    Raises:
        UnexpectedAnswerError: it is another answer.
    """
    if answer.is_success or answer.status < 400:  # noqa: PLR2004  # the first refusal
        raise answer.unexpected()
    return Write(refused=answer.status)


def text_or_none(value: Any) -> str | None:
    """The value if it is a text."""
    return value if isinstance(value, str) else None
