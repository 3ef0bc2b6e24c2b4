"""The synchronous client's calls that re-embed the store: all projects together, for who runs the system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from emendo_client import validation
from emendo_client.core import Core
from emendo_client.embeddings import create_embedder
from emendo_client.job import Job
from emendo_client.reembedding import plan, reading, steering
from emendo_client.reembedding.asking import Asked
from emendo_client.reembedding.models import Migration, ReembedPlan


class Reembedding(Core):
    """Re-embeds; see `MemoryClient`."""

    @overload
    def reembed(
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
    def reembed(
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
    ) -> Job: ...

    def reembed(
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
    ) -> Job | ReembedPlan:
        """Gives every memory of every project a vector of another embedding space, while searches and writes go on.

        The job ends when searches answer from the new space. The old one is kept for `EMENDO_REEMBED_GRACE` seconds:
        until then `rollback_reembed` goes back to it, and `finalize_reembed` removes it at once.

        Args:
            model, dimensions, provider: of the new space; what is left out stays as it is. Nothing at all means the
                space that the settings name.
            algorithm: of the index: flat, hnsw or svs-vamana. metric: cosine, ip or l2. datatype: float32 or float16.
                Where only these change, vectors are copied and nothing is embedded.
            filters: mends a part of the active space instead: `{"missing": True}`, `{"wrong_model": True}`,
                `{"wrong_dimensions": True}`, `project`, `user_id`, `agent_id`, `run_id`.
            dry_run: change nothing, and say what it would take.
            allow_missing: switch although memories could not be embedded; searches will not find these.
            idempotency_key: see `add`.

        Raises:
            ValidationError: there is no such space, or the store is in it already.
            ConflictError: another re-embedding is under way; `details["job_id"]` says which.
            VectorStoreError: there is no index yet. NetworkError
            EmbeddingError, AuthenticationError: of a dry run; the provider does not give such vectors. A job fails.
        """
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
        active, records = self._run(plan.spaces(self._keys))
        target = asked.target(active, records, self.settings)
        if not validation.flag(dry_run, "dry_run"):
            return self._submit(asked.request(self.project, key))
        if asked.needs_provider(target):
            embedder = create_embedder(self.settings, target.space)
            try:
                embedder.embed([plan.PROBE])
            finally:
                embedder.close()
        return self._run(asked.plan(self.settings, self._keys, active, target))

    def migration(self) -> Migration | None:
        """How the latest re-embedding stands; None when there was none within `EMENDO_JOB_TTL`."""
        return self._run(reading.migration(self._keys, self.settings.reembed_grace))

    def pause_reembed(self) -> None:
        """Lets the re-embedding stand still; what a worker has begun, it ends. Writes still keep both spaces.

        Raises:
            ConflictError: none is under way.
        """
        self._run(steering.pause(self._keys))

    def resume_reembed(self, *, allow_missing: bool = False) -> None:
        """Lets the re-embedding go on after a pause, or after its job failed.

        Args:
            allow_missing: switch although memories could not be embedded; searches will not find these.

        Raises:
            ConflictError: none is under way.
        """
        validation.flag(allow_missing, "allow_missing")
        self._ring(self._run(steering.resume(self.settings, self._keys, allow_missing=allow_missing)))

    def rollback_reembed(self) -> Job:
        """Goes back to the old space, which is as right as it was, and removes the new one.

        Also clears up after a re-embedding that failed; one that is under way is cancelled through its job.

        Raises:
            ConflictError: there is nothing to go back to.
        """
        return self._submit(self._run(steering.ending(self._keys, self.project, steering.ROLL_BACK)))

    def finalize_reembed(self) -> Job:
        """Removes the old space after a switch, without waiting for `EMENDO_REEMBED_GRACE` to be over.

        Raises:
            ConflictError: there is no old space.
        """
        return self._submit(self._run(steering.ending(self._keys, self.project, steering.FINALIZE)))
