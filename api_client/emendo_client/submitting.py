"""The synchronous client's calls that submit jobs: changes, batches of them, and decisions on conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from emendo_client import purging, reads, validation
from emendo_client.collector import Collector
from emendo_client.core import Core
from emendo_client.job import Job
from emendo_client.models import Conflict
from emendo_client.operations import Messages
from emendo_client.reads import MAX_PAGE_SIZE
from emendo_config.queues import MAINTENANCE


class Submitting(Core):
    """Submits jobs; see `MemoryClient`."""

    def add(
        self,
        messages: Messages,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        infer: bool = True,
        dry_run: bool = False,
        expires_at: datetime | str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Remembers what a conversation says.

        A chat model finds the facts in it and decides what each does to what is known in this scope: ADD, UPDATE,
        DELETE or NONE. With `infer=False` each user or assistant message becomes one memory, as it is.

        Args:
            messages: a string (one user message), a message {role, content[, name]}, or a list of them.
            user_id, agent_id, run_id: whose memories; at least one. They never change afterwards.
            metadata: JSON values kept with each memory that is added, and merged into each that is updated.
            infer: ask a chat model what to remember. Where the workers have none, messages are stored as they are,
                unless a memory says the same, and the result says `degraded`.
            dry_run: change nothing; the result says what would be done, with texts, until its record expires.
            expires_at: when the added memories vanish, with a time zone.
            idempotency_key: the same key and request give the same job; another request ConflictError.
            consistency: `eventual`, `strong` (returns after the commit) or `weak` (no record is kept).

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return self._submit(
            self._build.add(
                messages,
                user_id=user_id,
                agent_id=agent_id,
                run_id=run_id,
                metadata=metadata,
                infer=infer,
                dry_run=dry_run,
                expires_at=expires_at,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        actor_id: str | None = None,
        role: str | None = None,
        expected_version: int | None = None,
        on_conflict: str = "last_write_wins",
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Replaces the text, merges the metadata (a key set to None is removed), or both.

        Args:
            expected_version: the version this change is based on. Unless the memory still has it, the job fails
                with ConflictError, or the change is merged (see `on_conflict`).
            on_conflict: `last_write_wins` keeps, field by field, the newest submission; `reject` fails
                with ConflictError when a newer submission was there first; `merge` brings both together, field by
                field, a text that both changed through the chat model; `manual` (and `merge` without a chat model)
                lets what both changed wait for `resolve_conflict`.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return self._submit(
            self._build.update(
                memory_id,
                text=text,
                metadata=metadata,
                actor_id=actor_id,
                role=role,
                expected_version=expected_version,
                on_conflict=on_conflict,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    def delete(
        self,
        memory_id: str,
        hard: bool = False,  # the contract's signature
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Hides the memory from every read; its history stays, and `restore` brings it back.

        With `hard`, nothing of the content stays: text, metadata, vector and owners go, the history keeps when, what
        and by whom, and dead letters lose what they held of it. It cannot be undone.
        """
        return self._submit(
            self._build.delete(
                memory_id,
                hard=hard,
                actor_id=actor_id,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    def restore(
        self,
        memory_id: str,
        version: int | None = None,
        *,
        actor_id: str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Brings a deleted memory back; with `version`, text and metadata as they were then."""
        return self._submit(
            self._build.restore(
                memory_id,
                version=version,
                actor_id=actor_id,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    def batch_update(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        on_conflict: str = "last_write_wins",
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many updates under one job; each item succeeds or fails by itself.

        Args:
            items: mappings {memory_id, text, metadata, actor_id, role, expected_version, on_conflict}. An iterator is
                read as it is sent, so that it never sits in memory (with an idempotency key it is read first).
            on_conflict: for items that do not say.

        Raises:
            ValidationError: no item at all, or a list of which every item is refused; other refused items fail
                in the result, in their place.
            ConflictError, NetworkError
        """
        return self._submit_batch(
            self._batch.update(items, on_conflict=on_conflict, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch_delete(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        hard: bool = False,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many deletes under one job: items {memory_id, hard, actor_id, expected_version}; see `batch_update`."""
        return self._submit_batch(
            self._batch.delete(items, hard=hard, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch_add(
        self,
        items: Iterable[Mapping[str, Any]],
        infer: bool = True,  # the contract's signature
        *,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many adds under one job: items {messages, user_id, agent_id, run_id, metadata, expires_at}.

        With `infer` each item is a conversation of its own, and items of one scope are worked in order; without, each
        user or assistant message becomes a memory. The results follow the items' order, as many for each item as
        there were facts or messages in it; see `batch_update`.
        """
        return self._submit_batch(
            self._batch.add(items, infer=infer, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch(self) -> Collector:
        """Collects single calls into batch jobs: `with client.batch() as batch: batch.update(…)`, then `batch.jobs`.

        A call is checked when it is made, and accepted when the block ends or some thousand calls are together.
        """
        return Collector(self)

    def purge(self, deleted_before: datetime | str) -> Job | None:
        """Erases what was deleted or has expired before a moment, as `delete(hard=True)` does; None if nothing was.

        A memory that is restored meanwhile is left alone.

        Raises:
            ValidationError: the moment has no time zone.
        """
        limit = validation.moment(deleted_before, "deleted_before")
        found = self._run(purging.deleted_ids(self._keys, self.project, limit))
        if not found:
            return None
        return self._submit_batch(self._batch.documents("purge", purging.erasures(found, limit), MAINTENANCE))

    def conflicts(self, limit: int = 100) -> list[Conflict]:
        """Submissions that wait for a person's decision, newest first."""
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(reads.conflicts(self._keys, self.project, checked))

    def conflict(self, conflict_id: str) -> Conflict:
        """One submission that waits for a person's decision.

        Raises:
            ValidationError: the id is malformed.
            ConflictError: nothing waits under it in this project, or not any more.
        """
        validation.conflict_id(conflict_id)
        return self._run(reads.conflict(self._keys, self.project, conflict_id))

    def resolve_conflict(
        self,
        conflict_id: str,
        choice: str,
        *,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """A person's decision; it becomes a history entry with that person as its actor.

        Args:
            choice: `ours` applies the submission that waited, `theirs` leaves the memory as it is, `merged` sets
                `text` and `metadata`.
            expected_version: the memory's, as the person saw it.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return self._submit(
            self._build.resolve(
                conflict_id,
                choice=choice,
                text=text,
                metadata=metadata,
                actor_id=actor_id,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )
