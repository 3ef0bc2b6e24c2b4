"""The asyncio client's calls that re-embed the store: all projects together, for who runs the system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from emendo_client import validation
from emendo_client.aio_core import AsyncCore
from emendo_client.aio_job import AsyncJob
from emendo_client.embeddings import create_embedder
from emendo_client.reembedding import plan, reading, steering
from emendo_client.reembedding.asking import Asked
from emendo_client.reembedding.models import Migration, ReembedPlan


class AsyncReembedding(AsyncCore):
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
        """See `MemoryClient.reembed`."""
        asked = Asked.checked(
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
        active, records = await self._run(plan.spaces(self._keys))
        target = asked.target(active, records, self.settings)
        if not validation.flag(dry_run, "dry_run"):
            return await self._submit(asked.request(self.project, key))
        if asked.needs_provider(target):
            embedder = create_embedder(self.settings, target.space)
            try:
                await embedder.embed_async([plan.PROBE])
            finally:
                await embedder.close_async()
        return await self._run(asked.plan(self.settings, self._keys, active, target))

    async def migration(self) -> Migration | None:
        """See `MemoryClient.migration`."""
        return await self._run(reading.migration(self._keys, self.settings.reembed_grace))

    async def pause_reembed(self) -> None:
        """See `MemoryClient.pause_reembed`."""
        await self._run(steering.pause(self._keys))

    async def resume_reembed(self, *, allow_missing: bool = False) -> None:
        """See `MemoryClient.resume_reembed`."""
        validation.flag(allow_missing, "allow_missing")
        await self._ring(await self._run(steering.resume(self.settings, self._keys, allow_missing=allow_missing)))

    async def rollback_reembed(self) -> AsyncJob:
        """See `MemoryClient.rollback_reembed`."""
        return await self._submit(await self._run(steering.ending(self._keys, self.project, steering.ROLL_BACK)))

    async def finalize_reembed(self) -> AsyncJob:
        """See `MemoryClient.finalize_reembed`."""
        return await self._submit(await self._run(steering.ending(self._keys, self.project, steering.FINALIZE)))
