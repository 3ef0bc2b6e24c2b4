"""What a chat model can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One chat answer, where more is to be said than its content.

    `Reply(refusal="I cannot help with that")` is a model that refuses, `Reply('{"facts": [', finish_reason="length")`
    one that was cut off, `Reply()` one that said nothing.

    Attributes:
        content: None is sent as null, which is what a refusal has.
        refusal: why the model will not answer.
        finish_reason: `length` when the answer met the token limit, `content_filter` when it was withheld.

    Raises:
        ValueError: an unknown finish_reason.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    content: str | None = None
    refusal: str | None = None
    finish_reason: FinishReason = "stop"

    def __post_init__(self) -> None:
        known = get_args(FinishReason)
        if self.finish_reason not in known:
            raise ValueError(f"unknown finish_reason {self.finish_reason!r}; use one of {', '.join(known)}")
