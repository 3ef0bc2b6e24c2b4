# Generated from _async/writes.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""The blocking client's writes: changes, batches of changes, and decisions on conflicts. Each submits a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from emendo_client._sync.base import BaseClient
from emendo_client._sync.batch import BatchWriter
from emendo_client._sync.job import Job
from emendo_client.exchanges import conflicts, purge
from emendo_client.models import Conflict
from emendo_client.requests import validation
from emendo_client.requests.filters import Filter, scoped
from emendo_client.requests.listings import MAX_PAGE_SIZE
from emendo_client.requests.operations import Messages
from emendo_config.queues import MAINTENANCE


def delete_found(client: Writes, wanted: Filter, *, hard: bool = False) -> Job | None:
    """Deletes the memories that a filter finds now; see `MemoryClient.delete_all`."""
    found = client._run(purge.ids_in(client._keys, client._clock, wanted, include_deleted=hard))
    if not found:
        return None
    documents = purge.deletions(found, hard=hard)
    return client._submit_batch(client._batches.documents("delete_all", documents, MAINTENANCE))


class Writes(BaseClient):
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

        A chat model finds the facts in it and decides for each what it does to the scope's memories: ADD, UPDATE,
        DELETE or NONE. With `infer=False` each user or assistant message becomes one memory, as it is.

        Args:
            messages: a string (one user message), a message {role, content[, name]}, or a list of them. OpenAI's,
                Anthropic's, Gemini's and LangChain's messages are read as they are, also as objects. Texts are kept;
                the result's `left_out` counts all else.
            user_id, agent_id, run_id: whose memories; at least one. They never change afterwards.
            metadata: JSON values kept with each memory that is added, and merged into each that is updated.
            infer: ask a chat model what to remember. If the workers have no chat model, messages are stored as they
                are, unless a memory says the same. The result is then marked `degraded`.
            dry_run: change nothing. The result says what would be done, with texts, until its record expires.
            expires_at: when the added memories vanish, with a time zone; a past time is refused.
            idempotency_key: the same key with the same request gives the same job, with another a ConflictError.
            consistency: `eventual`, `strong` (returns after the commit) or `weak` (no record is kept).

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        documents = self._operations.add(
            messages, user_id, agent_id, run_id, metadata, infer=infer, dry_run=dry_run, expires_at=expires_at
        )
        return self._write(documents, idempotency_key, consistency)

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
            actor_id, role: the author of the change, for the history.
            expected_version: the version this change is based on. If the memory has another one, the job fails
                with ConflictError, or the change is merged (see `on_conflict`).
            on_conflict: `last_write_wins` keeps the newest submission of each field. `reject` fails with
                ConflictError when a newer submission was there first. `merge` merges field by field; the chat model
                merges a text that both changed. `manual` (and `merge` without a chat model) lets the fields that both
                changed wait for `resolve_conflict`.
            idempotency_key, consistency: see `add`.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        documents = self._operations.update(
            memory_id,
            text,
            metadata,
            actor_id=actor_id,
            role=role,
            expected_version=expected_version,
            on_conflict=on_conflict,
        )
        return self._write(documents, idempotency_key, consistency)

    def delete(
        self,
        memory_id: str,
        hard: bool = False,  # positional by contract
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Hides the memory from every read. Its history stays, and `restore` brings it back.

        With `hard` its content is erased: text, metadata, vector, owners, and what dead letters hold of it. The history
        keeps when something was done, what, and by whom. It cannot be undone.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        documents = self._operations.delete(memory_id, hard, actor_id=actor_id, expected_version=expected_version)
        return self._write(documents, idempotency_key, consistency)

    def restore(
        self,
        memory_id: str,
        version: int | None = None,
        *,
        actor_id: str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Brings a deleted memory back; with `version`, text and metadata as they were then.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        documents = self._operations.restore(memory_id, version, actor_id=actor_id)
        return self._write(documents, idempotency_key, consistency)

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
                read as it is sent, so it never sits in memory; with an idempotency key it is read first.
            on_conflict: for items that do not say.
            idempotency_key, consistency: see `add`.

        Raises:
            ValidationError: there is no item, or every item of a list is refused. If only some items are refused, these
                fail in the result, in their place.
            ConflictError, NetworkError
        """
        return self._submit_batch(
            self._batches.update(
                items, on_conflict=on_conflict, idempotency_key=idempotency_key, consistency=consistency
            )
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
        request = self._batches.delete(items, hard=hard, idempotency_key=idempotency_key, consistency=consistency)
        return self._submit_batch(request)

    def batch_add(
        self,
        items: Iterable[Mapping[str, Any]],
        infer: bool = True,  # positional by contract
        *,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many adds under one job: items {messages, user_id, agent_id, run_id, metadata, expires_at}.

        With `infer` each item is a conversation, and the items of one scope are worked in order. Without it each user
        or assistant message becomes a memory. The results follow the items' order; an item has one for each of its
        facts or messages. See `batch_update`.
        """
        request = self._batches.add(items, infer=infer, idempotency_key=idempotency_key, consistency=consistency)
        return self._submit_batch(request)

    def batch(self) -> BatchWriter:
        """Collects single calls into batch jobs, which `batch.jobs` lists at the end of the block.

            with client.batch() as batch:
                batch.update(memory_id, "new text")

        A call is checked when it is made. Calls are sent when the block ends, and whenever 2,048 have been collected.
        """
        return BatchWriter(self)

    def purge(self, deleted_before: datetime | str) -> Job | None:
        """Erases the memories that were deleted or expired before a moment, as `delete(hard=True)` does.

        A memory that is restored meanwhile is left alone. Without such a memory there is no job: None.

        Raises:
            ValidationError: the moment has no time zone.
            VectorStoreError: (NO_INDEX) there is no index yet, or Redis still fills it.
        """
        limit = validation.moment(deleted_before, "deleted_before")
        found = self._run(purge.deleted_ids(self._keys, self._clock, self.project, limit))
        if not found:
            return None
        return self._submit_batch(self._batches.documents("purge", purge.erasures(found, limit), MAINTENANCE))

    def delete_all(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        hard: bool = False,
    ) -> Job | None:
        """Deletes a scope's memories that exist now. Without such a memory there is no job: None.

        Args:
            user_id, agent_id, run_id: the scope; at least one.
            filters: further conditions, see `get_all`. Those that name users, agents or runs are a scope.
            hard: erase them, also those that are deleted or expired already.

        Raises:
            ValidationError: no scope, or a filter that cannot be read or has no condition.
            VectorStoreError: (NO_INDEX) there is no index yet, or Redis still fills it.
        """
        validation.flag(hard, "hard")
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=False, may_be_empty=False)
        return delete_found(self, wanted, hard=hard)

    def erase_user(self, user_id: str) -> Job:
        """Erases all that the project holds of a user.

        These are live, deleted and expired memories, and the submissions on them that wait for a decision. The user's
        own jobs that wait, dead letters and results of dry runs lose their content; a replay fails with MEMORY_ERASED.
        The result's one item says in `erased` how much it was. docs/how-to/erase.md says what remains where.

        Raises:
            ValidationError: the id is malformed.
        """
        validation.scope(user_id, None, None, required=True, is_new=False)
        return self._submit(purge.user_erasure(self.project, user_id))

    def conflicts(self, limit: int = 100) -> list[Conflict]:
        """Submissions that wait for a person's decision, newest first.

        Args:
            limit: up to 1,000.
        """
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(conflicts.find(self._keys, self.project, checked))

    def conflict(self, conflict_id: str) -> Conflict:
        """One submission that waits for a person's decision.

        Raises:
            ValidationError: the id is malformed.
            ConflictNotFoundError: nothing waits under it in this project, or it has been decided.
        """
        validation.conflict_id(conflict_id)
        return self._run(conflicts.get(self._keys, self.project, conflict_id))

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
        """Applies a person's decision; it becomes a history entry with that person as its actor.

        Args:
            choice: `ours` applies the submission that waited, `theirs` leaves the memory as it is, `merged` sets
                `text` and `metadata`.
            expected_version: the memory's version, as the person saw it.
            idempotency_key, consistency: see `add`.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        documents = self._operations.resolve_conflict(
            conflict_id,
            choice,
            text=text,
            metadata=metadata,
            actor_id=actor_id,
            expected_version=expected_version,
        )
        return self._write(documents, idempotency_key, consistency)
