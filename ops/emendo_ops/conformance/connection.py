"""Requests to the examined server, with one key."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2 as httpx

from emendo_config.errors import ConfigurationError

_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_KEPT_DETAIL = 120


class UnexpectedAnswerError(Exception):
    """The server answered as no check expects, or not at all; the text says to which request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        request: method and path, for messages.
        body: the JSON document; None if there is none.
    """

    request: str
    status: int
    body: Any

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_hidden(self) -> bool:
        """True when the server says that this caller has no such thing."""
        return self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

    def shows(self) -> bool:
        """False if the caller has no such thing.

        Raises:
            UnexpectedAnswerError: it is neither that nor a success.
        """
        if not self.is_success and not self.is_hidden:
            raise self.unexpected()
        return self.is_success

    def fields(self) -> dict[str, Any]:
        """The body's fields.

        Raises:
            UnexpectedAnswerError: it is no JSON object.
        """
        if not isinstance(self.body, dict):
            raise UnexpectedAnswerError(f"{self.request} answered {self.status} without a JSON object")
        return self.body

    def items(self, name: str) -> list[dict[str, Any]]:
        """The objects of a list in the body.

        Raises:
            UnexpectedAnswerError: there is no such list.
        """
        found = self.body if isinstance(self.body, list) else self.fields().get(name)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise UnexpectedAnswerError(f"{self.request} answered {self.status} without a list of {name}")
        return found

    def unexpected(self) -> UnexpectedAnswerError:
        """The error that tells this answer."""
        detail = self.body.get("detail") if isinstance(self.body, dict) else None
        more = f": {detail[:_KEPT_DETAIL]}" if isinstance(detail, str) else ""
        return UnexpectedAnswerError(f"{self.request} answered {self.status}{more}")


class Connection:
    """Sends requests with one key. A busy server (429, 503 with `Retry-After`) is asked again.

    An answer with an `event_id` is of a write that was accepted: to send that again would be another write.

    Args:
        patience: seconds for one request with its repetitions, and for a job to end.
    """

    def __init__(
        self, url: str, authorization: str, patience: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.patience = patience
        headers = {"Authorization": authorization} if authorization else {}
        self._http = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=patience, transport=transport)

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request and its answer.

        Args:
            headers: with `_` in place of `-`.

        Raises:
            UnexpectedAnswerError: there is no answer, it is one of 5xx, or the server stays busy.
        """
        deadline = time.monotonic() + self.patience
        name = f"{method} {path.partition('?')[0]}"
        fields = {field.replace("_", "-"): value for field, value in headers.items()}
        while True:
            try:
                answer = await self._http.request(method, path, json=body, headers=fields)
            except httpx.HTTPError as error:
                raise UnexpectedAnswerError(f"{name} failed: {type(error).__name__}") from None
            found = Answer(name, answer.status_code, _json(answer))
            is_accepted = isinstance(found.body, dict) and "event_id" in found.body
            delay = _seconds(answer)
            if found.status not in _BUSY or is_accepted or delay is None or time.monotonic() + delay > deadline:
                break
            await asyncio.sleep(delay)
        if not is_accepted and (found.status in _BUSY or found.status >= HTTPStatus.INTERNAL_SERVER_ERROR):
            raise found.unexpected()
        return found

    async def greet(self, path: str) -> None:
        """Checks that the server answers and takes the key.

        Raises:
            ConfigurationError: it does not; nothing was written.
        """
        try:
            answer = await self.send("GET", path)
        except UnexpectedAnswerError as error:
            raise ConfigurationError(
                f"the server cannot be examined: {error}", suggestion="check --url; the server must be running"
            ) from None
        if not answer.is_success:
            raise ConfigurationError(
                f"the server cannot be examined: {answer.unexpected()}",
                suggestion="check --url, --dialect and the keys, which must be allowed to write",
            )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _seconds(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return max(0.05, float(text)) if text.isascii() and text.isdigit() else None
