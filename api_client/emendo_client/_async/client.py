"""The asyncio client: `AsyncMemoryClient`."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client._async.dead_letters import AsyncDeadLetters
from emendo_client._async.reads import AsyncReads
from emendo_client._async.reembedding import AsyncReembedding
from emendo_client._async.writes import AsyncWrites
from emendo_client.exchanges import health, project_rules
from emendo_client.models import ProjectRules


class AsyncMemoryClient(AsyncWrites, AsyncReads, AsyncDeadLetters, AsyncReembedding):
    """Adds, updates, deletes, restores and reads the memories of one project. Each event loop gets its own connections.

    Writes return an `AsyncJob` as soon as Redis has accepted it; workers carry it out. Bad input raises
    ValidationError before anything is enqueued. An unreachable Redis raises NetworkError within
    `EMENDO_REDIS_TIMEOUT` and leaves no job behind. Only a call whose answer was lost on the way is uncertain; with an
    idempotency key it may be repeated.

    Args:
        settings: default: read from the environment.
        project: default: the settings' project. Nothing this client does reaches another project.
    """

    async def health(self) -> health.Health:
        """Whether jobs are accepted and worked. Never raises: an unreachable Redis becomes the answer's `problem`."""
        return await health.check_async(self._connections.senders, self._keys)

    async def project_rules(self) -> ProjectRules:
        """The project's rules for inference (`add` with `infer`): its instructions, and its categories."""
        return await self._run(project_rules.get(self._keys, self.project))

    async def set_project_rules(
        self, *, instructions: str | None = None, categories: Sequence[str] | None = None
    ) -> ProjectRules:
        """Sets the project's rules for inference, from the next job on. Returns the rules as they are then.

        Args:
            instructions: in plain words, for the chat model: what to remember and what to leave out. Up to 4,000
                characters; an empty string removes them, None leaves them as they are.
            categories: the names facts are sorted into, up to 50 of up to 64 characters. An empty list removes them;
                None leaves them as they are.

        Raises:
            ValidationError, NetworkError
        """
        return await self._run(project_rules.put(self._keys, self.project, instructions, categories))
