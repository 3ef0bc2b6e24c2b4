"""Labelled cases: known memories, a conversation, and the expected result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emendo_client.errors import ValidationError
from emendo_workers.inference.types import Action, Message

# The cases that come with Emendo.
OWN_CASES = Path(__file__).parent / "data"
# The day of a conversation whose case names none; a Wednesday.
_TODAY = date(2025, 3, 12)
# Events that change the memory they name.
CHANGES = frozenset({Action.UPDATE, Action.DELETE})


def _several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(_Strict):
    """One expected event.

    Attributes:
        event: the right event, or several that are equally right.
        memory: the number of its memory, from 1; None for ADD only.
        must: keywords that identify it. The resulting text of an ADD or UPDATE must have all of them; "a|b" means
            either of the two.
        must_not: keywords that no memory may have afterwards.
        optional: True if the event may be left out.
    """

    event: Annotated[tuple[Action, ...], BeforeValidator(_several), Field(min_length=1)]
    memory: int | None = Field(None, ge=1)
    must: Annotated[tuple[str, ...], Field(min_length=1)]
    must_not: tuple[str, ...] = ()
    optional: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.memory is None) != (set(self.event) == {Action.ADD}):
            raise ValueError("memory is the number of a known one, and is left out for ADD alone")
        if "" in self.must or "" in self.must_not:
            raise ValueError("an empty keyword is in every text")
        return self


class CaseMessage(_Strict):
    """One message of a case."""

    role: str = Field(pattern="^(user|assistant|system|tool)$")
    content: str = Field(min_length=1)
    name: str | None = None


class Case(_Strict):
    """A conversation in a scope with known memories.

    Attributes:
        kind: the name of its file.
        known: the texts of the scope's memories.
        never: keywords that no memory may have afterwards, whatever is expected.
    """

    id: str = Field(pattern="^[a-z0-9-]+$")
    kind: str
    language: str = "en"
    today: date = _TODAY
    known: tuple[str, ...] = ()
    messages: Annotated[tuple[CaseMessage, ...], Field(min_length=1)]
    expect: tuple[Expectation, ...]
    never: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [expectation.memory for expectation in self.expect if expectation.memory is not None]
        if any(number > len(self.known) for number in named):
            raise ValueError(f"it expects something of a memory that is not there; there are {len(self.known)}")
        if len(set(named)) < len(named):
            raise ValueError("it expects two things of one memory")
        return self

    @property
    def conversation(self) -> list[Message]:
        """Its messages, as extraction takes them."""
        return [Message(message.role, message.content, message.name) for message in self.messages]

    @property
    def now(self) -> datetime:
        """The time of the conversation: noon of its day."""
        return datetime.combine(self.today, time(12), UTC)


def load_cases(directory: Path) -> list[Case]:
    """The cases of every `<kind>.jsonl` in a folder, one case a line.

    Raises:
        ValidationError: there are none, a case is malformed, or two have one id; the message names it.
    """
    cases = [case for path in sorted(directory.glob("*.jsonl")) for case in _read(path)]
    if not cases:
        raise ValidationError(f"no cases in {directory}", suggestion="give a folder that holds <kind>.jsonl")
    twice = _twice(case.id for case in cases)
    if twice:
        raise ValidationError(f"several cases have the id {twice}", suggestion="an id is a case's own")
    return cases


def _read(path: Path) -> list[Case]:
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            cases.append(Case.model_validate({**json.loads(line), "kind": path.stem}))
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValidationError(f"{path.name}, line {number}: {where or 'the case'}: {first['msg']}") from None
        except (TypeError, ValueError):
            raise ValidationError(f"{path.name}, line {number} is not a JSON object") from None
    return cases


def _twice(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return None
