"""The chat answers of the test server: a script, then a function."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from emendo_client.testing import answers
from emendo_client.testing.answers import Answer
from emendo_client.testing.reply import Reply

# From the chat request, as it was sent, to what is said; a string is a whole and willing answer.
Answerer = Callable[[dict[str, Any]], str | Reply]


class ChatScript:
    """What the server says next; thread-safe. A request that a fault or a limit answers uses up nothing."""

    def __init__(self) -> None:
        self._replies: deque[str | Reply] = deque()
        self._answerer: Answerer | None = None
        self._lock = threading.Lock()
        self._serial = itertools.count(1)

    def script(self, replies: Iterable[str | Reply]) -> None:
        """Adds the next answers, in order."""
        with self._lock:
            self._replies.extend(replies)

    def answer_with(self, answerer: Answerer | None) -> None:
        """A function from the chat request to the answer, asked when the script is used up.

        Requests that come together ask it together, each on its own thread.
        """
        with self._lock:
            self._answerer = answerer

    def clear(self) -> None:
        """Forgets the script and the function."""
        with self._lock:
            self._replies.clear()
            self._answerer = None

    def respond(self, request: dict[str, Any]) -> Answer:
        """The answer to POST /chat/completions; 500 when nothing is scripted or the function fails."""
        with self._lock:
            reply = self._replies.popleft() if self._replies else None
            answerer = self._answerer
        if reply is None:
            if answerer is None:
                return answers.error(500, "no chat answer is scripted: call script(...) or answer_chat_with(...)")
            try:
                reply = answerer(request)
            except Exception as failure:  # noqa: BLE001  # the test's own function: say what it did, do not hang up
                return answers.error(500, f"the chat function raised {failure!r}")
        said: Any = Reply(reply) if isinstance(reply, str) else reply
        if not isinstance(said, Reply):
            return answers.error(500, f"the chat function returned {said!r}, which is neither a str nor a Reply")
        return answers.chat(request, said, next(self._serial))
