"""HTTP clients for providers: an answer is bounded in size and time, however it is packed, and no redirect is followed.

A redirect would take the texts and the key to another server.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import httpx2
import openai

from emendo_client.providers.deadlines import keep_deadlines, longest, time_of

# An error's body is read for its code and for some words.
MOST_OF_AN_ERROR = 1 << 20
# The codings that are unpacked here; a server may use no other.
_CODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True, "deflate": True}
_PACKED = {"accept-encoding": "gzip, deflate"}
# zlib finds out which of the two it is.
_ANY_HEADER = zlib.MAX_WBITS | 32
# Headers about the body on the wire.
_OF_THE_WIRE = (b"content-encoding", b"content-length", b"transfer-encoding")


class AnswerTooLargeError(httpx2.RequestError):
    """The provider's answer has more bytes than any answer to the request needs.

    Attributes:
        most: how many it may have.
    """

    def __init__(self, most: int, request: httpx2.Request) -> None:
        super().__init__(f"the answer has more than {most:,} bytes", request=request)
        self.most = most


class BoundedClient(openai.DefaultHttpxClient):
    """The openai client's default HTTP client with bounded answers.

    Args:
        most: bytes of an answer, unpacked.
        options: of the HTTP client.
    """

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(follow_redirects=False, headers=_PACKED, **options)
        keep_deadlines(self)
        self._most = most

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """The answer, read as far as the limits allow. The time of a request is that of all its parts together.

        Raises:
            AnswerTooLargeError: it is larger than the limit.
            httpx2.HTTPError: as the HTTP client raises it.
        """
        with time_of(request):
            answer = super().send(request, stream=True, **options)
            if stream:
                return answer
            try:
                body = _Body(answer, self._most)
                for part in answer.iter_raw():
                    body.take(part)
            finally:
                answer.close()
        return body.response()


class AsyncBoundedClient(openai.DefaultAsyncHttpxClient):
    """The asyncio twin of `BoundedClient`."""

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(follow_redirects=False, headers=_PACKED, **options)
        self._most = most

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """See `BoundedClient.send`."""
        try:
            async with asyncio.timeout(longest(request)):
                answer = await super().send(request, stream=True, **options)
                if stream:
                    return answer
                try:
                    body = _Body(answer, self._most)
                    async for part in answer.aiter_raw():
                        body.take(part)
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout("the answer takes too long", request=request) from None
        return body.response()


class _Body:
    """The body of an answer, as it comes."""

    def __init__(self, answer: httpx2.Response, most: int) -> None:
        self._answer = answer
        self._most = most if answer.is_success else min(most, MOST_OF_AN_ERROR)
        self._size = 0
        self._parts: list[bytes] = []
        coding = answer.headers.get("content-encoding", "").strip().lower()
        if coding not in _CODINGS:
            raise httpx2.DecodingError("the answer has a coding that was not asked for", request=answer.request)
        self._unpacker = zlib.decompressobj(_ANY_HEADER) if _CODINGS[coding] else None

    def take(self, part: bytes) -> None:
        if self._unpacker is not None:
            try:
                part = self._unpacker.decompress(part, self._most - self._size + 1)
            except zlib.error:
                raise httpx2.DecodingError("the answer is badly packed", request=self._answer.request) from None
        self._size += len(part)
        if self._size > self._most:
            raise AnswerTooLargeError(self._most, self._answer.request)
        self._parts.append(part)

    def response(self) -> httpx2.Response:
        """The answer with its body."""
        answer = self._answer
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in _OF_THE_WIRE]
        return httpx2.Response(
            answer.status_code,
            headers=headers,
            content=b"".join(self._parts),
            request=answer.request,
            extensions=answer.extensions,
        )
