"""`consistency` of a write: when its answer may come, and what is kept of it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from emendo_client.errors import ValidationError

Word = Literal["eventual", "strong", "weak"]
Consistency = Annotated[
    Word,
    Query(
        description="`strong`: searches find the change once the job has ended; it needs `Prefer: wait`. "
        "`weak`: nothing is kept of the job, so nobody can wait for it."
    ),
]


def of_write(word: Word, wait: float, key: str | None = None) -> str:
    """The consistency, if the request says how to wait for it.

    Raises:
        ValidationError
    """
    if word == "strong" and not wait:
        raise ValidationError(
            "consistency=strong answers after the commit, and the request does not wait",
            suggestion="send Prefer: wait=10 with it",
        )
    if word == "weak" and wait:
        raise ValidationError(
            "consistency=weak keeps no job that could be waited for",
            suggestion="leave Prefer: wait out, or use consistency=eventual",
        )
    if word == "weak" and key is not None:
        raise ValidationError(
            "consistency=weak keeps no job that a repeated request could be answered with",
            suggestion="leave Idempotency-Key out, or use consistency=eventual",
        )
    return word
