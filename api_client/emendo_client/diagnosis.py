"""What `client.diagnose` returns: what was looked at on one memory, what is wrong, and how to mend it.

What is found and expected is said in versions, lengths and digests, never in a memory's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, computed_field


class Check(StrEnum):
    """What is looked at; docs/how-to/diagnose.md says what each finding means."""

    FIELDS = "fields"
    TEXT_HASH = "text_hash"
    INDEX = "index"
    VECTOR = "vector"
    VECTOR_LENGTH = "vector_length"
    VECTOR_FINITE = "vector_finite"
    EMBEDDING_MODEL = "embedding_model"
    EMBEDDING_SPACE = "embedding_space"
    METADATA_TAGS = "metadata_tags"
    EXPIRES_MS = "expires_ms"
    HISTORY = "history"
    HISTORY_VERSIONS = "history_versions"
    HISTORY_END = "history_end"
    NEWEST_TEXT = "newest_text"
    NEWEST_METADATA = "newest_metadata"
    NEWEST_DELETED = "newest_deleted"
    ERASED = "erased"
    ERASED_HISTORY = "erased_history"


_RESTORE = "restore(memory_id, version=<the newest version>) writes what the history says"
_EMBED_AGAIN = "HDEL the memory's embedding_space, then restore it to its newest version: it is embedded anew"
_BACKUP = "changes are lost: bring the memory's hash and stream back together from a backup"
MENDS: Mapping[Check, str] = {
    Check.FIELDS: "set the named fields by hand (HSET), or bring hash and stream back together from a backup",
    Check.TEXT_HASH: _RESTORE,
    Check.INDEX: "mend fields, vector and expires_ms first; else wait until the index is built, or change the memory",
    Check.VECTOR: f"HDEL a vector field that is not expected; for one that is missing: {_EMBED_AGAIN}",
    Check.VECTOR_LENGTH: _EMBED_AGAIN,
    Check.VECTOR_FINITE: _EMBED_AGAIN,
    Check.EMBEDDING_MODEL: _EMBED_AGAIN,
    Check.EMBEDDING_SPACE: _EMBED_AGAIN,
    Check.METADATA_TAGS: "set any metadata key to another value and back: the tags are written with the metadata",
    Check.EXPIRES_MS: "HSET the memory's expires_ms to what is expected; HDEL it when none is",
    Check.HISTORY: _BACKUP,
    Check.HISTORY_VERSIONS: _BACKUP,
    Check.HISTORY_END: "HSET the memory's version to the history's last if text and metadata agree; else as for a gap",
    Check.NEWEST_TEXT: _RESTORE,
    Check.NEWEST_METADATA: _RESTORE,
    Check.NEWEST_DELETED: "delete the memory or restore it: whichever it should be",
    Check.ERASED: "HDEL the named fields: the memory was erased for good",
    Check.ERASED_HISTORY: "erase the memory again",
}


class Finding(BaseModel):
    """One thing looked at; `mend` says what to do when it is not ok."""

    model_config = ConfigDict(frozen=True)

    check: Check
    ok: bool
    found: str
    expected: str
    mend: str = ""


class Diagnosis(BaseModel):
    """What `diagnose` found of one memory; checks that rest on something unreadable are left out."""

    model_config = ConfigDict(frozen=True)

    memory_id: str
    project: str | None
    version: int | None
    is_deleted: bool
    erased: bool
    findings: list[Finding]

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know decorated properties
    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> list[Finding]:
        """The findings that are not ok."""
        return [finding for finding in self.findings if not finding.ok]
