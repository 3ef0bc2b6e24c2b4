"""The chat answers of the test server: a script, then a function."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from emendo_client.testing import answers
from emendo_client.testing.answers import Answer
from emendo_client.testing.faults import Fault


class ChatScript:
    """What the server says next; thread-safe."""

    def __init__(self) -> None:
        self._contents: deque[str] = deque()
        self._answerer: Callable[[dict[str, Any]], str] | None = None
        self._lock = threading.Lock()
        self._serial = itertools.count(1)

    def script(self, contents: Iterable[str]) -> None:
        """Adds the contents of the next answers, in order."""
        with self._lock:
            self._contents.extend(contents)

    def answer_with(self, answerer: Callable[[dict[str, Any]], str] | None) -> None:
        """A function from the chat request to the answer's content, asked when the script is used up."""
        self._answerer = answerer

    def clear(self) -> None:
        """Forgets the script and the function."""
        with self._lock:
            self._contents.clear()
        self._answerer = None

    def respond(self, request: dict[str, Any], fault: Fault | None) -> Answer:
        """The answer to POST /chat/completions; 500 when nothing is scripted or the function raises."""
        try:
            content = self._next(request)
        except Exception as failure:  # noqa: BLE001  # the test's own function: say what it did, do not hang up
            return answers.error(500, f"the chat function raised {failure!r}")
        if content is None:
            return answers.error(500, "no chat answer is scripted: call chat.script([...]) or chat.answer_with(...)")
        answer = answers.chat(request, content, next(self._serial))
        if fault is not None and fault.kind == "malformed_json":
            answer.body = b"{" + answer.body
        answer.truncate = fault is not None and fault.kind == "truncated"
        return answer

    def _next(self, request: dict[str, Any]) -> str | None:
        with self._lock:
            if self._contents:
                return self._contents.popleft()
            answerer = self._answerer
        return answerer(request) if answerer is not None else None
