"""Reading a chat model's answer: a completion becomes a document, or an error without the answer's text.

The place and the notation of the document may be any that servers were seen to use. Its content must be the requested
type's, strictly: nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args, get_origin

import pydantic
from pydantic import BaseModel

from emendo_client.errors import InferenceError
from emendo_client.providers.chat.answer_texts import has_refusal, message_of, texts_of
from emendo_client.providers.chat.base import A, Usage
from emendo_client.providers.chat.lenient_json import Value, values_in
from emendo_client.providers.chat.thoughts import without_thoughts
from emendo_client.providers.openai_errors import CHAT, not_an_api
from emendo_config.error_codes import ErrorCode

# Why a choice ended, in the words of OpenAI, Anthropic, Gemini and Mistral; compared in lower case.
_CUT = ("length", "max_tokens", "model_length")
_WITHHELD = ("content_filter", "safety", "refusal", "recitation", "blocklist", "prohibited_content", "spii")
# Objects around the document, by their key.
_WRAPPERS = frozenset(
    (
        *("answer", "arguments", "content", "data", "final", "function", "input", "items", "json", "list", "object"),
        *("output", "parameters", "properties", "response", "result", "results", "value", "values"),
    )
)
_MAX_WRAPPERS = 3
_EMPTY = "look into the server's log, or use another model"
# Characters around a value that stands alone.
_MOST_AROUND = 2_000
# Code fences, and marks that models end their answers with.
_MARKS = re.compile(r"```\w*|<\|\w+\|>|</s>")


def read_answer(body: Any, answer_type: type[A], spent: Usage, *, partly: bool) -> tuple[A, bool]:
    """The document in a completion, and whether it was cut off.

    Args:
        body: the completion as JSON values.
        answer_type: the document's type.
        spent: for the details of an error.
        partly: of a document that was cut off, its complete list items are wanted.

    Raises:
        InferenceError: (UNUSABLE) it cannot be used; the details hold its cost.
    """
    found = message_of(body)
    if found is None:
        raise _unusable(
            "the chat model's answer has no message", ErrorCode.INFERENCE_MALFORMED, spent, not_an_api(CHAT)
        )
    message, reason = found[0], found[1].lower()
    if has_refusal(message) or reason in _WITHHELD:
        raise _unusable("the chat model refuses to answer", ErrorCode.INFERENCE_REFUSED, spent)
    for text in texts_of(message):
        document = _document(text, answer_type, partly=partly)
        if document is not None:
            return document
    if reason not in _CUT and not any(text.strip() for text in texts_of(message)):
        raise _unusable("the chat model's answer is empty", ErrorCode.INFERENCE_MALFORMED, spent, _EMPTY)
    if reason in _CUT:
        raise _unusable("the chat model's answer was cut off", ErrorCode.INFERENCE_TRUNCATED, spent)
    raise _unusable(f"the chat model's answer is no {answer_type.__name__}", ErrorCode.INFERENCE_MALFORMED, spent)


def _unusable(problem: str, code: ErrorCode, spent: Usage, suggestion: str | None = None) -> InferenceError:
    return InferenceError(problem, error_code=code, details=asdict(spent), suggestion=suggestion)


def _document(text: str, answer_type: type[A], *, partly: bool) -> tuple[A, bool] | None:
    """The last document in a text, and whether it is cut off; a whole one is preferred."""
    whole = _validated(text.strip(), answer_type)
    if whole is not None:  # it may speak of thoughts
        return whole, False
    text = without_thoughts(_unquoted(text))
    values = [value for value in values_in(text) if partly or not value.is_cut]
    for value in sorted(values, key=lambda value: (value.is_cut, -value.start)):
        for shape in _shapes(value.value, answer_type, is_alone=_is_alone(text, [value])):
            document = _validated(_json(shape), answer_type)
            if document is not None:
                return document, value.is_cut
    items = _list_type(answer_type)
    if items and len(values) > 1 and _is_alone(text, values):  # an item in each line
        document = _validated(_json(_as_document([value.value for value in values], items) or None), answer_type)
        return None if document is None else (document, values[-1].is_cut)
    return None


def _unquoted(text: str) -> str:
    """The text that a JSON string holds; any other text is itself."""
    try:
        inner = json.loads(text) if text.lstrip().startswith('"') else text
    except ValueError:
        return text
    return inner if isinstance(inner, str) else text


def _validated(text: str, answer_type: type[A]) -> A | None:
    try:
        return answer_type.model_validate_json(text, strict=True)
    except pydantic.ValidationError:
        return None


def _json(value: Any) -> str:
    return json.dumps(value)


def _shapes(value: Any, answer_type: type[BaseModel], *, is_alone: bool, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects that a value may stand for: itself, those it wraps, and the one whose only list it is."""
    if isinstance(value, str):  # JSON within JSON
        inner = [found.value for found in values_in(value) if _is_alone(value, [found]) and not found.is_cut]
        value = inner[0] if inner else None
    if isinstance(value, Mapping):
        yield value
        names = {*_WRAPPERS, answer_type.__name__.lower()}
        is_document = not answer_type.model_fields.keys().isdisjoint(value)
        wrapped = [] if is_document else [inner for name, inner in value.items() if name.lower() in names]
    elif isinstance(value, list):
        items = _list_type(answer_type)
        document = _as_document(value, items) if items and (value or is_alone) else None
        if document is not None:
            yield document
        wrapped = value if len(value) == 1 else []
    else:
        return
    if depth < _MAX_WRAPPERS:
        for inner in wrapped:
            yield from _shapes(inner, answer_type, is_alone=is_alone, depth=depth + 1)


def _list_type(answer_type: type[BaseModel]) -> tuple[str, frozenset[str]] | None:
    """The name of the type's only required field, if it is a list of objects, and the names of their fields."""
    required = [(name, field) for name, field in answer_type.model_fields.items() if field.is_required()]
    if len(required) != 1:
        return None
    name, field = required[0]
    item = next(iter(get_args(field.annotation)), None)
    if get_origin(field.annotation) is not list or not isinstance(item, type) or not issubclass(item, BaseModel):
        return None
    return name, frozenset(item.model_fields)


def _as_document(items: Sequence[Any], list_type: tuple[str, frozenset[str]]) -> dict[str, Any] | None:
    """The document with this list; None unless each item has fields of such an item and no others."""
    name, fields = list_type
    if all(isinstance(item, Mapping) and item and fields.issuperset(item) for item in items):
        return {name: list(items)}
    return None


def _is_alone(text: str, values: Sequence[Value]) -> bool:
    """True if nothing but code fences, models' own marks, commas and white space stands around the values."""
    ends = [0, *(value.end for value in values)]
    starts = [*(value.start for value in values), len(text)]
    if sum(starts) - sum(ends) > _MOST_AROUND:
        return False
    around = "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
    return not _MARKS.sub("", around).strip(", \t\r\n")
