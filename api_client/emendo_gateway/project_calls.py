"""Calls that concern a whole project, or the whole store. A key that is bound to a user gets none of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from emendo_client import AsyncMemoryClient
from emendo_client._async.job import AsyncJob
from emendo_client.errors import PermissionDeniedError
from emendo_client.exchanges.reembedding.models import Migration, ReembedPlan
from emendo_client.models import Conflict, DeadLetter, DeadLetterProgress, JobInfo, OwnerPage, ProjectRules
from emendo_config.error_codes import ErrorCode
from emendo_gateway.callers import Caller


class _TimeIsUp(Exception):  # noqa: N818  # ends a run between two pages
    """A run over dead letters has taken as long as one request may."""


class ProjectCalls:
    """The calls on a whole project, within the caller's limits; the base of `Service`.

    Args:
        client: of the caller's project.
        reembedding: keys with the scope `admin` may re-embed the store, which all projects share.
    """

    def __init__(self, client: AsyncMemoryClient, caller: Caller, *, reembedding: bool = False) -> None:
        self._client = client
        self._reembedding = reembedding
        self.caller = caller

    def whole_project(self) -> AsyncMemoryClient:
        """The project's client, for calls that concern all of its users.

        Raises:
            PermissionDeniedError: (KEY_SCOPE) the key is bound to a user.
        """
        if self.caller.user_id is not None:
            raise beyond_user()
        return self._client

    def _administered(self) -> AsyncMemoryClient:
        self.caller.require("admin")
        return self.whole_project()

    # Users, agents and runs.

    async def owners(self, kind: str, limit: int = 100, cursor: str | None = None) -> OwnerPage:
        """The project's `users`, `agents` or `runs` that have memories."""
        client = self.whole_project()
        calls = {"users": client.users, "agents": client.agents, "runs": client.runs}
        return await calls[kind](limit=limit, cursor=cursor)

    async def erase_user(self, user_id: str) -> AsyncJob:
        """Erases all that the project holds of a user."""
        return await self._administered().erase_user(user_id)

    async def purge(self, deleted_before: str) -> AsyncJob | None:
        """Erases what was deleted before a moment; None if there is nothing."""
        return await self._administered().purge(deleted_before)

    # Rules.

    async def rules(self) -> ProjectRules:
        """The project's rules for inference."""
        return await self.whole_project().project_rules()

    async def set_rules(self, instructions: str | None, categories: Sequence[str] | None) -> ProjectRules:
        """Sets the rules; None leaves a part as it is."""
        return await self._administered().set_project_rules(instructions=instructions, categories=categories)

    # Jobs, conflicts.

    async def jobs(self, status: str | None, limit: int) -> list[JobInfo]:
        """The project's newest jobs."""
        return await self.whole_project().jobs(status, limit)

    async def conflicts(self, limit: int) -> list[Conflict]:
        """The submissions that wait for a person."""
        return await self.whole_project().conflicts(limit)

    # Dead letters. They hold memory texts of all users.

    async def dead_letters(self, limit: int, **wanted: Any) -> list[DeadLetter]:
        """The project's dead letters that match, newest first."""
        return await self._administered().dead_letters(limit, **wanted)

    async def dead_letter(self, job_id: str) -> DeadLetter:
        """One dead letter."""
        return await self._administered().dead_letter(job_id)

    async def replay(self, job_id: str) -> AsyncJob:
        """Puts a dead letter back to work."""
        return await self._administered().replay(job_id)

    async def discard(self, job_id: str) -> None:
        """Gives a dead letter up."""
        await self._administered().discard(job_id)

    async def replay_all(self, seconds: float, **wanted: Any) -> tuple[int, bool]:
        """Replays those that match, for that long: how many, and whether it was all of them."""
        return await self._run_over(self._administered().replay_all, seconds, wanted)

    async def discard_all(self, seconds: float, **wanted: Any) -> tuple[int, bool]:
        """Discards those that match, for that long: how many, and whether it was all of them."""
        return await self._run_over(self._administered().discard_all, seconds, wanted)

    @staticmethod
    async def _run_over(call: Any, seconds: float, wanted: dict[str, Any]) -> tuple[int, bool]:
        deadline, done = time.monotonic() + seconds, 0

        def note(progress: DeadLetterProgress) -> None:
            nonlocal done
            done = progress.done
            if time.monotonic() > deadline:
                raise _TimeIsUp

        try:
            return await call(**wanted, on_progress=note), True
        except _TimeIsUp:
            return done, False

    # Re-embedding.

    def _operated(self) -> AsyncMemoryClient:
        client = self._administered()
        if not self._reembedding:
            raise PermissionDeniedError(
                "re-embedding concerns all projects of the store, and a key stands for one",
                error_code=ErrorCode.KEY_SCOPE,
                suggestion="use emendo reembed where the workers run, or set EMENDO_GATEWAY_REEMBEDDING=true",
            )
        return client

    async def reembed(self, **wanted: Any) -> AsyncJob:
        """Gives every memory of the store a vector of another space."""
        job: AsyncJob = await self._operated().reembed(**wanted)
        return job

    async def plan_reembedding(self, **wanted: Any) -> ReembedPlan:
        """The effort of a re-embedding."""
        return await self._operated().reembed(**wanted, dry_run=True)

    async def migration(self) -> Migration | None:
        """The state of the latest re-embedding."""
        return await self._operated().migration()

    async def pause_reembedding(self) -> None:
        """Pauses the re-embedding."""
        await self._operated().pause_reembed()

    async def resume_reembedding(self, *, allow_missing: bool) -> None:
        """Resumes it."""
        await self._operated().resume_reembed(allow_missing=allow_missing)

    async def roll_back_reembedding(self) -> AsyncJob:
        """Goes back to the old space."""
        return await self._operated().rollback_reembed()

    async def finalize_reembedding(self) -> AsyncJob:
        """Removes the old space."""
        return await self._operated().finalize_reembed()


def beyond_user() -> PermissionDeniedError:
    """The error for what a key that is bound to a user may not do."""
    return PermissionDeniedError(
        "the key is for the memories of one user only",
        error_code=ErrorCode.KEY_SCOPE,
        suggestion="leave user_id out, or use a key of the whole project",
    )
