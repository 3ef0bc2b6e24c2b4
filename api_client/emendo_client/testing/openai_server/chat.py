"""The test server's chat answers: first a script, then a function."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from emendo_client.testing.openai_server import answers
from emendo_client.testing.openai_server.answers import Answer
from emendo_client.testing.openai_server.reply import Reply

# A string is a complete answer without a refusal, an `Answer` any HTTP answer, as other servers send them.
Said = str | Reply | Answer
# From the chat request, as it was sent, to the answer.
Answerer = Callable[[dict[str, Any]], Said]


class ChatScript:
    """The next answers; thread-safe. A request that a fault or a limit answers uses none of them."""

    def __init__(self) -> None:
        self._replies: deque[Said] = deque()
        self._answerer: Answerer | None = None
        self._lock = threading.Lock()
        self._serial = itertools.count(1)

    def script(self, replies: Iterable[Said]) -> None:
        """Adds the next answers, in order; `answers` makes those that are neither a text nor a `Reply`."""
        with self._lock:
            self._replies.extend(replies)

    def answer_with(self, answerer: Answerer | None) -> None:
        """Sets a function from the chat request to the answer, called once the script is used up.

        Simultaneous requests call it simultaneously, each on its own thread.
        """
        with self._lock:
            self._answerer = answerer

    def clear(self) -> None:
        """Removes the script and the function."""
        with self._lock:
            self._replies.clear()
            self._answerer = None

    def respond(self, request: dict[str, Any]) -> Answer:
        """The answer to POST /chat/completions; 500 if nothing is scripted or the function fails."""
        with self._lock:
            reply = self._replies.popleft() if self._replies else None
            answerer = self._answerer
        if reply is None:
            if answerer is None:
                return answers.error(500, "no chat answer is scripted: call script(...) or answer_chat_with(...)")
            try:
                reply = answerer(request)
            except Exception as failure:  # noqa: BLE001  # the test's function may raise anything; the answer names it
                return answers.error(500, f"the chat function raised {failure!r}")
        if isinstance(reply, Answer):
            return reply
        said: Any = Reply(reply) if isinstance(reply, str) else reply
        if not isinstance(said, Reply):
            return answers.error(500, f"the chat function returned {said!r}, which is neither a str nor a Reply")
        return answers.chat(request, said, next(self._serial))
