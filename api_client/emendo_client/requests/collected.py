"""Calls that a batch writer has collected and not yet sent. Pure, shared by both clients."""

from __future__ import annotations

from collections.abc import Iterator

from emendo_client.requests.batch_items import BatchBuilder
from emendo_client.requests.batches import BatchRequest
from emendo_client.requests.operations import Document
from emendo_config.queues import BULK

# A writer sends what it has when it holds so many operations.
MOST_CALLS = 2_048


class CollectedCalls:
    """Checked operations in the order of their calls, and the batch jobs that carry them."""

    def __init__(self, batches: BatchBuilder) -> None:
        self._batches = batches
        self._documents: list[Document] = []
        self._unsent: BatchRequest | None = None

    @property
    def is_full(self) -> bool:
        """True when they must be sent before another call is collected."""
        return len(self._documents) >= MOST_CALLS

    def collect(self, documents: list[Document]) -> None:
        """Appends the operations of one call."""
        self._documents += documents

    def requests(self) -> Iterator[BatchRequest]:
        """The jobs to send, in order: the one an earlier flush could not send, then the one with all newer calls.

        A job is kept until the next one is asked for. If sending it fails, the next flush sends the same job again,
        and Redis takes only the parts that it does not have yet. So a lost answer does no harm.
        """
        if self._unsent is not None:
            yield self._unsent
            self._unsent = None
        if self._documents:
            self._unsent, self._documents = self._batches.documents("batch", self._documents, BULK), []
            yield self._unsent
            self._unsent = None

    def take_back(self, request: BatchRequest, accepted: int) -> None:
        """Puts the operations that a closed job lacks first into the next job.

        Args:
            accepted: how many of the job's operations Redis has, the first ones.
        """
        self._documents[:0] = list(request.documents)[accepted:]
        self._unsent = None
