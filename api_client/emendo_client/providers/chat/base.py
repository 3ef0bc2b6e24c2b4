"""The interface of chat models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from emendo_config.error_codes import ErrorCode

A = TypeVar("A", bound=BaseModel)
Message = Mapping[str, str]  # {role, content}

# The name of the chat model's circuit breaker.
PROVIDER = "chat"

# Error codes of answers that cannot be used: not the requested document, a refusal, or cut off at a token limit.
UNUSABLE = frozenset({ErrorCode.INFERENCE_MALFORMED, ErrorCode.INFERENCE_REFUSED, ErrorCode.INFERENCE_TRUNCATED})


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of the chat model."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class ChatAnswer(Generic[A]):
    """A chat model's answer.

    Attributes:
        document: the answer, of the requested type.
        prompt_tokens, completion_tokens: tokens as the provider counted them; 0 if it does not report them.
        requests: number of requests; more than 1 while it is unknown which form of a request the server takes.
        is_cut: the document ends where the answer was cut off; its lists have their complete items only.
    """

    document: A
    prompt_tokens: int
    completion_tokens: int
    requests: int
    is_cut: bool = False


class ChatModel(Protocol):
    """Sends messages and returns one document; never retries by itself."""

    def ask(
        self, messages: Sequence[Message], answer_type: type[A], *, max_tokens: int, partly: bool = False
    ) -> ChatAnswer[A]:
        """Asks for a document of a type.

        Args:
            messages: the conversation; the first one is the system message with the instructions.
            answer_type: the type of the answer. The model reads its schema: its name, its docstring and the
                descriptions of its fields.
            max_tokens: the document's length at most. The tokens of a thought are added to it.
            partly: an answer that was cut off is wanted as far as it goes; otherwise it cannot be used.

        Raises:
            InferenceError: the provider refuses the request, or the answer cannot be used (UNUSABLE). The details of
                an unusable answer hold its cost: requests, prompt_tokens, completion_tokens.
            NetworkError, RateLimitError: a later attempt may succeed.
            AuthenticationError: the key is refused.
        """
        ...

    def close(self) -> None:
        """Closes connections."""
        ...
