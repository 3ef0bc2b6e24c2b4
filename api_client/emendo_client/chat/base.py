"""What every chat model promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

A = TypeVar("A", bound=BaseModel)
Message = Mapping[str, str]  # {role, content}

# What the chat model's circuit breaker is called.
PROVIDER = "chat"

# Error codes of answers that cannot be used.
MALFORMED = "INFERENCE_MALFORMED"  # no JSON, not of the type that was asked for, or nothing at all
REFUSED = "INFERENCE_REFUSED"  # the model, its provider or a content filter will not answer this
TRUNCATED = "INFERENCE_TRUNCATED"  # the answer met a token limit
UNUSABLE = frozenset({MALFORMED, REFUSED, TRUNCATED})


@dataclass(frozen=True, slots=True)
class ChatAnswer(Generic[A]):
    """What the model said.

    Attributes:
        document: of the type that was asked for.
        prompt_tokens, completion_tokens: what the provider counted, 0 when it does not say.
        requests: how many it took; more than 1 while it is found out what the server understands.
    """

    document: A
    prompt_tokens: int
    completion_tokens: int
    requests: int


class ChatModel(Protocol):
    """Messages in, one document out, no retries of its own."""

    def ask(self, messages: Sequence[Message], answer_type: type[A]) -> ChatAnswer[A]:
        """Asks for an answer of a type.

        Args:
            messages: the conversation so far; the instructions are the first, a system message.
            answer_type: what the answer must be; its schema is sent along, so its name, and what its docstring and
                its fields' descriptions say, are read by the model.

        Raises:
            InferenceError: the provider refuses the request, or the answer cannot be used (UNUSABLE); the details of
                such an answer hold what was spent: requests, prompt_tokens, completion_tokens.
            NetworkError, RateLimitError: trying again later may help.
            AuthenticationError: the key is refused.
        """
        ...

    def close(self) -> None:
        """Closes connections."""
        ...
