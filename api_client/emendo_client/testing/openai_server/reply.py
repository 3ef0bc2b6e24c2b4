"""The answers of a chat model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One chat answer with more than its content.

    `Reply(refusal="I cannot help with that")` is a refusal, `Reply('{"facts": [', finish_reason="length")` an answer
    that was cut off, `Reply()` an empty answer.

    Attributes:
        content: None is sent as null, as in a refusal.
        refusal: the model's reason not to answer.
        finish_reason: `length` if the answer reached the token limit, `content_filter` if it was withheld.

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
