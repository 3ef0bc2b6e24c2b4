"""The form of embedding requests: servers refuse different fields of OpenAI's protocol, so the form is found out.

A refused request is asked again without `dimensions` and without `encoding_format`. The form that a server accepts is
kept. A form that has been accepted is not doubted any more, unless a refusal names one of its fields.

Some servers do not refuse base64, and answer without a vector. So the first answer of that kind is asked for once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx2
import openai

from emendo_client.errors import EmbeddingError
from emendo_client.providers.openai_errors import fails_in_every_form

logger = logging.getLogger(__name__)

_BAD_REQUEST, _UNPROCESSABLE, _SERVER_ERROR = 400, 422, 500
# Seconds between two searches that begin with a 500 of unknown cause: the server may just be failing.
_PAUSE = 60.0

T = TypeVar("T")
Steps = Generator["Asked", httpx2.Response, T]  # yields requests, is sent answers or thrown their errors
Reader = Callable[[httpx2.Response, Sequence[str]], T]  # reads the answer to a request for these texts


@dataclass(frozen=True, slots=True)
class Form:
    """The optional fields of a request.

    Attributes:
        dimensions, encoding_format: whether the field is sent.
    """

    dimensions: bool = True
    encoding_format: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its texts and its form."""

    texts: Sequence[str]
    form: Form


class RequestForm:
    """The form that one server takes for one model.

    Args:
        form: what to try first.
        fixed: names of the fields that the settings decide about.
        doubts: 500s in a row, of unknown cause, after which the form is doubted: 2 if callers ask again by themselves.

    Threads may search at the same time; they find the same.
    """

    def __init__(self, form: Form, fixed: Sequence[str] = (), doubts: int = 2) -> None:
        self._form = self._first_form = form
        self._fixed = fixed
        self._doubts = doubts
        self._is_known = False
        self._server_errors = 0  # in a row, before the form is known
        self._next_search = 0.0

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """The fields that the server was found to refuse, or not to understand."""
        kept, first = self._form, self._first_form
        return tuple(name for name in _WORDS if getattr(first, name) and not getattr(kept, name))

    def ask(self, texts: Sequence[str], read: Reader[T]) -> Steps[T]:
        """Asks for the texts, in the form that the server takes.

        Raises:
            openai.OpenAIError: as the server refused the texts, or as the request failed.
        """
        form, refusal = self._form, None
        try:
            response = yield Asked(texts, form)
        except openai.APIStatusError as error:
            if not self._may_be_the_form(error, form):
                raise
            refusal = error
        if refusal is not None:  # not while it is handled: it would be the context of other errors, with its text
            return (yield from self._search(texts, form, refusal, read))
        if not self._is_known and form.encoding_format and "encoding_format" not in self._fixed:
            return (yield from self._first(response, texts, form, read))
        self._keep(form)
        return read(response, texts)

    def _first(self, response: httpx2.Response, texts: Sequence[str], form: Form, read: Reader[T]) -> Steps[T]:
        """Reads the first answer; one without any vector may be that of a server that cannot give base64."""
        try:
            found = read(response, texts)
        except EmbeddingError as error:
            if error.details.get("vectors") != 0:
                self._keep(form)
                raise
            unusable = error
        else:
            self._keep(form)
            return found
        simpler = Form(dimensions=form.dimensions, encoding_format=False)
        answer = yield from self._takes(texts, simpler)
        if answer is None:
            raise unusable
        found = read(answer, texts)
        self._keep(simpler)
        return found

    def _search(self, texts: Sequence[str], form: Form, refusal: openai.APIStatusError, read: Reader[T]) -> Steps[T]:
        named = _named_fields(refusal, form)
        # Several texts may be refused for one of them, or for their number: then one text tells about the form.
        sample = texts if named or len(texts) == 1 else [min(texts, key=len)]
        if sample is not texts and (yield from self._takes(sample, form)):
            self._keep(form)
            raise refusal
        for simpler in self._simpler(form, named):
            answer = yield from self._takes(sample, simpler)
            if answer is None:
                continue
            if refusal.status_code == _SERVER_ERROR and not named and (yield from self._takes(sample, form)):
                self._keep(form)  # the server was failing, and has recovered meanwhile
                return read((yield Asked(texts, form)), texts)
            vectors = read(answer, sample)  # of the right length, or the form is of no use
            self._keep(simpler)
            return vectors if sample is texts else read((yield Asked(texts, simpler)), texts)
        self._server_errors, self._next_search = 0, time.monotonic() + _PAUSE
        raise refusal

    def _takes(self, texts: Sequence[str], form: Form) -> Steps[httpx2.Response | None]:
        """The answer to the texts in this form; None if it is refused."""
        try:
            return (yield Asked(texts, form))
        except openai.APIStatusError as error:
            if error.status_code not in (_BAD_REQUEST, _UNPROCESSABLE, _SERVER_ERROR):
                raise
            return None

    def _keep(self, form: Form) -> None:
        if not self._is_known or form != self._form:
            if form != self._form:
                sent = {"dimensions": form.dimensions, "encoding_format": form.encoding_format}
                logger.info("the embedding provider takes requests of another form", extra=sent)
            self._form, self._is_known = form, True

    def _may_be_the_form(self, refusal: openai.APIStatusError, form: Form) -> bool:
        status = refusal.status_code
        if status not in (_BAD_REQUEST, _UNPROCESSABLE, _SERVER_ERROR) or fails_in_every_form(refusal):
            return False
        if _named_fields(refusal, form):
            return True
        if self._is_known:
            return False
        if status != _SERVER_ERROR:
            return True
        # A failing server says the same as one that means 400. So it is not asked for other forms again soon.
        self._server_errors += 1
        return self._server_errors >= self._doubts and time.monotonic() >= self._next_search

    def _simpler(self, form: Form, named: Sequence[str]) -> Iterator[Form]:
        """The forms with fewer fields: first without the named ones, last without all."""
        dimensions = form.dimensions and "dimensions" not in self._fixed
        encoding_format = form.encoding_format and "encoding_format" not in self._fixed
        without = [
            Form(dimensions=False, encoding_format=form.encoding_format) if dimensions else form,
            Form(dimensions=form.dimensions, encoding_format=False) if encoding_format else form,
        ]
        if named == ["encoding_format"]:
            without.reverse()
        if dimensions and encoding_format:
            without.append(Form(dimensions=False, encoding_format=False))
        yield from (each for each in without if each != form)


# Words for the fields in the refusals of servers.
_WORDS = {
    "dimensions": ("dimension", "matryoshka"),
    "encoding_format": ("encoding_format", "encoding format", "base64"),
}


def _named_fields(refusal: openai.APIStatusError, form: Form) -> list[str]:
    """The sent fields that the refusal speaks of."""
    said = f"{refusal.param} {refusal}".lower()
    return [name for name, words in _WORDS.items() if getattr(form, name) and any(word in said for word in words)]
