"""Asking the provider: requests within its limits, tried again where that may help; a refused text fails alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from emendo_client.embeddings import Embedder
from emendo_client.errors import (
    CircuitOpenError,
    EmbeddingError,
    EmendoError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
    ThrottledError,
)
from emendo_config import Settings
from emendo_workers.gate import Gate
from emendo_workers.metering import Meter
from emendo_workers.retry import is_transient

logger = logging.getLogger(__name__)

# A pause inside the task holds a whole shard back; longer ones are the delayed set's business (seconds).
LONGEST_QUICK_PAUSE = 1.0


class EmbeddingRequests:
    """Embeds lists of texts through one embedder; thread-safe when the embedder is."""

    def __init__(self, embedder: Embedder, settings: Settings, gate: Gate) -> None:
        self._gate = gate
        self._embedder = embedder
        self._settings = settings
        self._backoff = wait_random_exponential(multiplier=0.1, max=LONGEST_QUICK_PAUSE)
        self._threads = ThreadPoolExecutor(settings.embedding_parallel, "emendo-embedding")

    def close(self) -> None:
        """Ends its threads."""
        self._threads.shutdown()

    def embed(self, texts: Sequence[str], meter: Meter) -> dict[str, bytes | EmendoError]:
        """A vector (float32[dimensions] bytes) for each text, or the error that kept it from having one.

        Args:
            texts: no text twice.
            meter: is told what was spent.
        """
        first, *more = self._requests(texts)
        waiting = [self._threads.submit(self._embed_request, request, meter) for request in more]
        found = self._embed_request(first, meter)
        for each in waiting:
            found.update(each.result())
        return found

    def _embed_request(self, texts: list[str], meter: Meter) -> dict[str, bytes | EmendoError]:
        try:
            return dict(zip(texts, self._with_quick_retries(texts, meter), strict=True))
        except EmbeddingError as error:
            # One text the provider refuses (too long, say) must not fail its neighbours: halve until it is alone.
            if len(texts) == 1 or is_transient(error):
                return dict.fromkeys(texts, error)
            half = len(texts) // 2
            return {**self._embed_request(texts[:half], meter), **self._embed_request(texts[half:], meter)}
        except EmendoError as error:
            return dict.fromkeys(texts, error)

    def _with_quick_retries(self, texts: list[str], meter: Meter) -> list[bytes]:
        for attempt in Retrying(
            stop=stop_after_attempt(1 + self._settings.embedding_quick_retries),
            retry=retry_if_exception(_worth_a_quick_retry),
            wait=self._pause,
            reraise=True,
        ):
            with attempt:
                return self._ask_provider(texts, meter)
        raise AssertionError("tenacity ends by returning or raising")

    def _ask_provider(self, texts: list[str], meter: Meter) -> list[bytes]:
        admission = self._gate.enter(sum(map(_most_tokens, texts)), LONGEST_QUICK_PAUSE)
        try:
            answer = self._embedder.embed(texts)
        except EmendoError as error:
            self._gate.failed(admission, error)
            raise
        self._gate.answered(admission, answer)
        meter.add(1, answer.tokens)
        return answer.vectors

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        pause = self._backoff(state)
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        logger.info(
            "the embedding provider failed; trying again",
            extra={"attempt": state.attempt_number, "error": getattr(error, "error_code", type(error).__name__)},
        )
        return pause

    def _requests(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """The texts, split where the provider's limits, or its pace, ask for it."""
        request: list[str] = []
        tokens = 0
        for text in texts:
            cost = _most_tokens(text)
            full = len(request) >= self._settings.embedding_max_inputs
            most = min(self._settings.embedding_max_tokens, self._gate.largest_request)
            if request and (full or tokens + cost > most):
                yield request
                request, tokens = [], 0
            request.append(text)
            tokens += cost
        if request:
            yield request


def _most_tokens(text: str) -> int:
    # A byte-pair token is at least one byte; English has about four characters to a token. Half the bytes is
    # above what real text needs, so a request stays under the limit without a tokeniser.
    return len(text.encode()) // 2 + 1


def _worth_a_quick_retry(error: BaseException) -> bool:
    if isinstance(error, QuotaExceededError | CircuitOpenError | ThrottledError):
        return False
    if isinstance(error, RateLimitError):
        return (error.retry_after or 0.0) <= LONGEST_QUICK_PAUSE
    if isinstance(error, NetworkError):
        # A provider that did not answer in time would hold the shard for as long again.
        return error.error_code != "PROVIDER_TIMEOUT"
    return isinstance(error, EmendoError) and is_transient(error)
