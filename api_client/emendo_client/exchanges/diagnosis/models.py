"""Results of a diagnosis: the checks of one memory, their findings and the remedies.

Findings show versions, lengths and digests, never the memory's own text.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, computed_field


class Check(StrEnum):
    """One check of a memory; docs/how-to/diagnose.md explains each."""

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
    NEWEST_COMMIT = "newest_commit"
    ERASED = "erased"
    ERASED_HISTORY = "erased_history"


_RESTORE = "call restore(memory_id, version=<the newest version>), which writes the state from the history"
_EMBED_AGAIN = "HDEL the memory's embedding_space, then restore it to its newest version: it is embedded again"
_BACKUP = "changes are lost: restore the memory's hash and stream together from a backup"
REMEDIES: Mapping[Check, str] = {
    Check.FIELDS: "HSET the named fields, or restore hash and stream together from a backup",
    Check.TEXT_HASH: _RESTORE,
    Check.INDEX: "correct fields, vector and expires_ms; if they are right, wait for the index or change the memory",
    Check.VECTOR: f"HDEL a vector field that is not expected; for a missing one: {_EMBED_AGAIN}",
    Check.VECTOR_LENGTH: _EMBED_AGAIN,
    Check.VECTOR_FINITE: _EMBED_AGAIN,
    Check.EMBEDDING_MODEL: _EMBED_AGAIN,
    Check.EMBEDDING_SPACE: _EMBED_AGAIN,
    Check.METADATA_TAGS: "change any metadata key and change it back: the tags are written with the metadata",
    Check.EXPIRES_MS: "HSET expires_ms to the expected value; HDEL it if none is expected",
    Check.HISTORY: _BACKUP,
    Check.HISTORY_VERSIONS: _BACKUP,
    Check.HISTORY_END: "if text and metadata agree, HSET the version to the last of the history; else restore a backup",
    Check.NEWEST_TEXT: _RESTORE,
    Check.NEWEST_METADATA: _RESTORE,
    Check.NEWEST_DELETED: "delete or restore the memory, as it should be",
    Check.NEWEST_COMMIT: _RESTORE,
    Check.ERASED: "HDEL the named fields: the memory was deleted for good",
    Check.ERASED_HISTORY: "erase the memory again",
}


class Finding(BaseModel):
    """The result of one check; `remedy` says what to do if it is not ok."""

    model_config = ConfigDict(frozen=True)

    check: Check
    ok: bool
    found: str
    expected: str
    remedy: str = ""

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know decorated properties
    @property
    def mend(self) -> str:
        """The earlier name of `remedy`."""
        return self.remedy


class Diagnosis(BaseModel):
    """All findings about one memory; a check that needs an unreadable value is left out."""

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
