"""Forms of a chat request: servers differ in the parameters they take, and in the words by which they refuse one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import openai
from pydantic import BaseModel

from emendo_client.providers.chat.base import Message
from emendo_client.providers.chat.response_formats import ResponseFormat
from emendo_client.providers.openai_errors import fails_in_every_form

_BAD_REQUEST, _UNPROCESSABLE, _SERVER_ERROR, _NOT_IMPLEMENTED = 400, 422, 500, 501
_REFUSED = (_BAD_REQUEST, _UNPROCESSABLE, _NOT_IMPLEMENTED)
_MIN_BOUND = 256
_MAX_FORMS = 10
# Words for each optional part of a request, as servers use them.
_WORDS = {
    "system": re.compile(
        r"system.{0,20}(?:role|message)|developer instruction|roles must alternate|does not support .system",
        re.IGNORECASE,
    ),
    "temperature": re.compile(r"temperature|sampling param|top_p", re.IGNORECASE),
    "bound": re.compile(
        r"max_tokens|max_completion_tokens|max_(?:new|output)_tokens|num_predict|in the completion",
        re.IGNORECASE,
    ),
    "format": re.compile(
        # The last two are Groq's: the model's answer was no JSON, so it is asked for in words, and read leniently.
        r"response.?format|json.?schema|json.?object|json.?mode|structured.?output|guided|grammar|schema"
        r"|json_validate_failed|failed to (?:generate|validate) json",
        re.IGNORECASE,
    ),
}
_OTHER_NAME = re.compile(r"instead|unsupported|not supported|unrecognized|unknown|extra", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too large|too long|at most|maximum|exceed|less than|reduce", re.IGNORECASE)
_CONTEXT = re.compile(r"context length|prompt", re.IGNORECASE)
_OTHER_BOUNDS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens", "": ""}


@dataclass(frozen=True, slots=True)
class RequestForm:
    """The optional parts of a request.

    Attributes:
        format: how the document is asked for.
        temperature: whether 0 is sent; reasoning models take their default only.
        bound: the name of the bound on output tokens; empty for none.
        cap: the highest bound the server takes, as far as it is known.
        system: whether the instructions are a system message; some models' templates know none.
    """

    format: ResponseFormat = ResponseFormat.SCHEMA
    temperature: bool = True
    bound: str = "max_tokens"
    cap: int | None = None
    system: bool = True

    @property
    def refused_parts(self) -> tuple[str, ...]:
        """The parts of the first form that this one does without, in the protocol's names."""
        missing = {
            "json_schema": self.format is not ResponseFormat.SCHEMA,
            "json_object": self.format is ResponseFormat.TEXT,
            "temperature": not self.temperature,
            "max_tokens": self.bound != "max_tokens",
            "max_completion_tokens": not self.bound,
            "system": not self.system,
        }
        return tuple(part for part, is_missing in missing.items() if is_missing)

    def request(self, messages: Sequence[Message], answer_type: type[BaseModel], max_tokens: int) -> dict[str, Any]:
        """The request's parameters, but for the model."""
        request = self.format.request(messages, answer_type)
        if not self.system:
            request["messages"] = _as_user(request["messages"])
        if self.temperature:
            request["temperature"] = 0
        if self.bound:
            request[self.bound] = self.capped(max_tokens)
        return request

    def capped(self, max_tokens: int) -> int:
        """The bound that is sent."""
        return max_tokens if self.cap is None else min(max_tokens, self.cap)


def _as_user(messages: Sequence[Message]) -> list[Message]:
    """The messages as one of the user."""
    return [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]


class FormSearch:
    """Looks for the form that a server takes: without the part it names, else without each part, else without all.

    Args:
        form: the one that is known, or taken for the best.
        max_tokens: the bound of the question.
        takes_500_for_refusal: a 500 that names no part may refuse one, too.

    Attributes:
        form: to be tried next.
        is_sure: it is known that the forms before were refused; a 500 that names no part may also have been chance.
    """

    def __init__(self, form: RequestForm, max_tokens: int, *, takes_500_for_refusal: bool) -> None:
        self.form = form
        self.is_sure = True
        self._max_tokens = max_tokens
        self._takes_500 = takes_500_for_refusal
        self._tried = [form]
        self._base = form
        self._lasting_cap = form.cap
        self._first_refusal: openai.APIStatusError | None = None

    @property
    def learned(self) -> RequestForm:
        """The form to begin with next time, once it has worked."""
        return replace(self.form, cap=self._lasting_cap)

    def refuse(self, error: openai.APIStatusError) -> None:
        """Notes why the form was refused, and goes on to another one.

        Raises:
            APIStatusError: no other form is worth a try; the first refusal, or what is no refusal.
        """
        named = _named(error)
        is_refusal = error.status_code in _REFUSED
        if not is_refusal and (error.status_code != _SERVER_ERROR or not (named or self._takes_500)):
            raise error
        if self._first_refusal is None or self._first_refusal.status_code == _SERVER_ERROR:
            self._first_refusal = error
        found = next((form for form in self._others(error, named) if form not in self._tried), None)
        if found is None or len(self._tried) == _MAX_FORMS:
            raise self._first_refusal
        self.is_sure = self.is_sure and (is_refusal or bool(named))
        if found.cap != self.form.cap and not _CONTEXT.search(error.message):  # not only the room this prompt left
            self._lasting_cap = found.cap
        if named:
            self._base = found
        self.form = found
        self._tried.append(found)

    def _others(self, error: openai.APIStatusError, named: Sequence[str]) -> Iterator[RequestForm]:
        is_hopeless = fails_in_every_form(error)
        for part in named:
            if part == "bound" or not is_hopeless:  # a lower bound leaves the prompt more room
                yield from _without(self.form, part, error.message, self._max_tokens)
        if is_hopeless:
            return
        base, other_bound = self._base, _OTHER_BOUNDS[self._base.bound]
        yield replace(base, format=base.format.simpler or base.format)
        yield replace(base, temperature=False)
        yield replace(base, bound=other_bound)
        yield replace(base, format=ResponseFormat.TEXT)
        for bound in (base.bound, other_bound, ""):
            yield replace(base, format=ResponseFormat.TEXT, temperature=False, bound=bound)


def _named(error: openai.APIStatusError) -> list[str]:
    """The optional parts that a refusal names: by its parameter, else in its words. Its words stay in here."""
    for said in (error.param, error.code, error.message):
        named = [part for part, words in _WORDS.items() if isinstance(said, str) and words.search(said)]
        if named:
            return named
    return []


def _without(form: RequestForm, part: str, said: str, max_tokens: int) -> Iterator[RequestForm]:
    """The form without a part, or with the next simpler one."""
    if part == "temperature":
        yield replace(form, temperature=False)
    elif part == "system":
        yield replace(form, system=False)
    elif part == "format" and form.format.simpler is not None:
        yield replace(form, format=form.format.simpler)
    elif part == "bound" and form.bound:
        lower = form.capped(max_tokens) // 2
        if _TOO_LARGE.search(said) and not _OTHER_NAME.search(said):
            if lower >= _MIN_BOUND:
                yield replace(form, cap=lower)
        else:
            yield replace(form, bound=_OTHER_BOUNDS[form.bound])
            yield replace(form, bound="")
