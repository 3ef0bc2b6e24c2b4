"""The asyncio client's calls that re-embed the store: all projects together, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from emendo_client._async.base import AsyncBaseClient
from emendo_client._async.job import AsyncJob
from emendo_client.exchanges.reembedding import control, estimate, status
from emendo_client.exchanges.reembedding.call import ReembedCall
from emendo_client.exchanges.reembedding.models import Migration, ReembedPlan
from emendo_client.providers.embeddings import create_embedder
from emendo_client.requests import validation


class AsyncReembedding(AsyncBaseClient):
    """Re-embeds; see `AsyncMemoryClient`."""

    @overload
    async def reembed(
        self,
        model: str | None = None,
        dimensions: int | None = None,
        *,
        provider: str | None = None,
        filters: Mapping[str, Any] | None = None,
        dry_run: Literal[True],
        algorithm: str | None = None,
        metric: str | None = None,
        datatype: str | None = None,
        allow_missing: bool = False,
        idempotency_key: str | None = None,
    ) -> ReembedPlan: ...

    @overload
    async def reembed(
        self,
        model: str | None = None,
        dimensions: int | None = None,
        *,
        provider: str | None = None,
        filters: Mapping[str, Any] | None = None,
        dry_run: Literal[False] = False,
        algorithm: str | None = None,
        metric: str | None = None,
        datatype: str | None = None,
        allow_missing: bool = False,
        idempotency_key: str | None = None,
    ) -> AsyncJob: ...

    async def reembed(
        self,
        model: str | None = None,
        dimensions: int | None = None,
        *,
        provider: str | None = None,
        filters: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        algorithm: str | None = None,
        metric: str | None = None,
        datatype: str | None = None,
        allow_missing: bool = False,
        idempotency_key: str | None = None,
    ) -> AsyncJob | ReembedPlan:
        """Gives every memory of every project a vector in another embedding space, while searches and writes go on.

        The job ends when searches use the new space. The old space is kept for `EMENDO_REEMBED_GRACE` seconds. Until
        then `rollback_reembed` goes back to it, and `finalize_reembed` removes it at once.

        Args:
            model, dimensions, provider: of the new space; one that is left out stays as it is. Without any of them
                it is the space that the settings name, with their prefixes and fields.
            algorithm: of the index: flat, hnsw or svs-vamana. metric: cosine, ip or l2. datatype: float32 or float16.
                If only these change, vectors are copied and nothing is embedded.
            filters: repairs a part of the active space instead: `{"missing": True}`, `{"wrong_model": True}`,
                `{"wrong_dimensions": True}`, `project`, `user_id`, `agent_id`, `run_id`.
            dry_run: change nothing, and return what it would take.
            allow_missing: switch even if some memories could not be embedded; searches will not find these.
            idempotency_key: see `add`.

        Raises:
            ValidationError: there is no such space, or it is the active one already.
            ConflictError: another re-embedding is under way; its job is `details["job_id"]`.
            VectorStoreError: there is no index yet.
            NetworkError: Redis could not be reached in time.
            EmbeddingError, AuthenticationError: only of a dry run; the provider does not give such vectors. Without
                `dry_run` the job fails.
        """
        call = ReembedCall.checked(
            model=model,
            dimensions=dimensions,
            provider=provider,
            filters=filters,
            algorithm=algorithm,
            metric=metric,
            datatype=datatype,
            allow_missing=allow_missing,
        )
        key = validation.opaque_key(idempotency_key, "idempotency_key")
        active, records = await self._run(estimate.spaces(self._keys))
        target = call.target(active, records, self.settings)
        if not validation.flag(dry_run, "dry_run"):
            return await self._submit(call.request(self.project, active, target, key))
        if call.needs_provider(target):
            embedder = create_embedder(self.settings, target.space)
            try:
                await embedder.embed_async([estimate.PROBE])
            finally:
                await embedder.close_async()
        return await self._run(call.plan(self.settings, self._keys, active, target))

    async def migration(self) -> Migration | None:
        """The state of the latest re-embedding; None if there was none within `EMENDO_JOB_TTL`."""
        return await self._run(status.migration(self._keys, self.settings.reembed_grace))

    async def pause_reembed(self) -> None:
        """Pauses the re-embedding; workers finish the chunks they have begun. Writes still keep both spaces.

        Raises:
            ConflictError: none is under way.
        """
        await self._run(control.pause(self._keys))

    async def resume_reembed(self, *, allow_missing: bool = False) -> None:
        """Resumes the re-embedding after a pause, or after its job failed.

        Args:
            allow_missing: switch even if some memories could not be embedded; searches will not find these.

        Raises:
            ConflictError: none is under way.
        """
        validation.flag(allow_missing, "allow_missing")
        await self._notify(await self._run(control.resume(self.settings, self._keys, allow_missing=allow_missing)))

    async def rollback_reembed(self) -> AsyncJob:
        """Goes back to the old space, which writes have kept up to date, and removes the new one.

        It also cleans up after a re-embedding that failed. One that is under way is cancelled through its job.

        Raises:
            ConflictError: there is nothing to go back to.
        """
        return await self._submit(await self._run(control.ending(self._keys, self.project, control.ROLL_BACK)))

    async def finalize_reembed(self) -> AsyncJob:
        """Removes the old space after a switch, without waiting for the end of `EMENDO_REEMBED_GRACE`.

        Raises:
            ConflictError: there is no old space.
        """
        return await self._submit(await self._run(control.ending(self._keys, self.project, control.FINALIZE)))
