"""The fields of the hash `emendo:usage`: the work and the cost of inference, for all projects together.

Each is a count that only grows. The step that stores a job's plan adds to it, so a job that is worked twice counts
once.
"""

from __future__ import annotations

CHAT_REQUESTS = "chat_requests"
PROMPT_TOKENS = "prompt_tokens"
COMPLETION_TOKENS = "completion_tokens"
EMBEDDING_REQUESTS = "embedding_requests"
EMBEDDING_TOKENS = "embedding_tokens"
# Jobs that were worked without a chat model.
DEGRADED_JOBS = "degraded_jobs"

# The effects that a fact can have on the memories.
DECISIONS = ("ADD", "UPDATE", "DELETE", "NONE")
_DECISION, _FALLBACK = "decision:", "fallback:"


def decision(event: str) -> str:
    """The field that counts decisions of one of DECISIONS."""
    return f"{_DECISION}{event}"


def fallback(code: str) -> str:
    """The field that counts facts for which the model's answer could not be taken, by why; a code, never a text."""
    return f"{_FALLBACK}{code}"


def fallback_code(field: str) -> str | None:
    """The inverse of `fallback`; None for any other field."""
    return field.removeprefix(_FALLBACK) if field.startswith(_FALLBACK) else None
