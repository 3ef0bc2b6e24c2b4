"""Removes content from the operations of a payload whose memory is erased. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from emendo_workers.jobs.operations import FIELDS, Document

# Fields that hold content, or say whose it is. An erased memory must not live on in a dead letter.
CONTENT = (
    "text",
    "metadata",
    "user_id",
    "agent_id",
    "run_id",
    "actor_id",
    "reason",
    "source",
    "fact",
    "messages",
    "facts",
)
# A field that this release does not know may hold content, too.
_KEPT = FIELDS.difference(CONTENT)
_DIGEST = "sha256:"
_IS_DIGEST = re.compile(rf"{_DIGEST}[0-9a-f]{{64}}")


def redacted(document: Any) -> Document:
    """The operation without content; nothing is left of one that is no object."""
    if not isinstance(document, dict):
        return {}
    return {name: value for name, value in document.items() if name in _KEPT}


def without_content(document: Document, *, is_planned: bool) -> Document:
    """A settled operation of a job that still waits, without content.

    A planned one keeps its fact's digest: a fact that is decided again asks whether another operation states it.
    """
    kept = redacted(document)
    if is_planned and kept != document and (fact := document.get("fact") or document.get("text")):
        kept["fact"] = fact if _IS_DIGEST.fullmatch(str(fact)) else fact_digest(str(fact))
    return kept


def as_fact(document: Document) -> Document:
    """A planned operation with nothing but its fact: what it would make of the memory goes."""
    kept = {name: value for name, value in document.items() if name not in ("text", "reason")}
    if fact := document.get("fact") or document.get("text"):
        kept["fact"] = fact
    return kept


def fact_digest(fact: str) -> str:
    """The digest that a settled operation keeps of its fact."""
    return _DIGEST + hashlib.sha256(fact.encode()).hexdigest()
